"""Any of the methods in a training loop of your own: plain tensors in, one call per step.

Needs torch, numpy and scipy only: no files, no prepared set, none of our trainer.
"""

from metadcseg.own_loop.attached import AttachedMethod
from metadcseg.own_loop.attaching import attach

__all__ = ["AttachedMethod", "attach"]
