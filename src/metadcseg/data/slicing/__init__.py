"""Volumes as slices, and back."""
