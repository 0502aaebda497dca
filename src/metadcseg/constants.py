"""Numbers that several rooms share; kept apart from torch, so that data code starts without it."""

IGNORE = 255
"""The label of a pixel that counts nowhere: unknown to whoever drew it, or outside the image after a warp."""

INTERRUPTED = 130
"""The exit status of a command that Ctrl-C or SIGTERM stopped, after saving."""
