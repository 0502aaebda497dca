"""Where cases come from: a plain folder, or a data set whose layout is known."""

from metadcseg.data.sources.case import RawCase, Scan
from metadcseg.data.sources.folder import scan_folder
from metadcseg.data.sources.kvasir import scan_kvasir

__all__ = ["RawCase", "Scan", "scan_folder", "scan_kvasir"]
