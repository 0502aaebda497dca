"""The prepared set on the disk: its layout, tables, reader and writer."""

from metadcseg.data.store.reader import PreparedSet

__all__ = ["PreparedSet"]
