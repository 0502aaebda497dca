"""Data: readers, checks, noise, and the prepared set. Importing this package does not import torch."""

from metadcseg.data.store.reader import ROLES, Case, PreparedSet, SetWriter, StoredVolume

__all__ = ["ROLES", "Case", "PreparedSet", "SetWriter", "StoredVolume"]
