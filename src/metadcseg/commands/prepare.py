"""``metadcseg prepare``: from files of any kind to one prepared set."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console
