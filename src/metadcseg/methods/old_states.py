"""What methods of before have saved, in the form that their parts of today read."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.functional import pad

_DISTANCES = 10
"""So many bins had a table of pairs before images without a pixel of the class had one of their own."""


def upgrade_parts(parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the saved parts of a method's state as its modules have them today.

    The centers of the boundary were one entry for each foreground; the running mean of the gold gradient was a
    dictionary of tensors and a number; tables of pairs had no bin for images in which nobody drew the class.

    Example:
        >>> saved = {"boundary": {"0": {"values": torch.zeros(3, 5)}}, "weights": {}}
        >>> upgrade_parts(saved)["boundary"]["centers"].shape
        torch.Size([1, 3, 5])
    """
    upgraded = dict(parts)
    if "centers" not in (boundary := parts.get("boundary", {"centers": None})):
        found = [boundary[number]["values"] for number in sorted(boundary, key=int)]
        upgraded["boundary"] = {"centers": torch.stack(found) if found else torch.zeros(0, 3, 0)}
    if isinstance((mean := parts.get("gold_mean", {})).get("sums"), dict):
        sums = [entry.flatten() for entry in mean["sums"].values()]
        upgraded["gold_mean"] = {
            "sums": torch.cat(sums) if sums else torch.zeros(0),
            "weight": torch.tensor(mean["weight"], dtype=torch.float64),
        }
    for name in ("pairs", "errors"):
        held = upgraded.get(name, {})
        if "truly" in held and held["truly"].ndim == 4 and held["truly"].shape[-1] == _DISTANCES:
            upgraded[name] = {each: pad(counts, (0, 1)) for each, counts in held.items()}
    return upgraded
