"""The one label value that is no class; kept apart from torch, so that data code starts without it."""

IGNORE = 255
"""The label of a pixel that counts nowhere: unknown to whoever drew it, or outside the image after a warp."""
