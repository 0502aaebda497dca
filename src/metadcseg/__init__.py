"""Train medical segmentation networks on imperfect masks and a handful of verified ones."""

from importlib.metadata import version

__version__ = version("metadcseg")
