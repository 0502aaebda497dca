"""Images drawn by code, and label noise injected into sets."""
