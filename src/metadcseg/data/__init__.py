"""Data: readers, checks, noise, and the prepared set. Importing this package does not import torch."""

from metadcseg.data.store import ROLES, Case, PreparedSet, SetWriter

__all__ = ["ROLES", "Case", "PreparedSet", "SetWriter"]
