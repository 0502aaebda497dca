"""What runs of version 0.1 are called today; the one place that knows.

There one method, ``metadcseg``, was two. With ``memory: shared``, its default, it is now the method ``binned``; with
``memory: persistent`` and the paper's readings, those of the presets ``paper-...``, it is ``metadcseg``. Every other
mixture of options is evaluated, predicted with and reported as before, but no method can train it further.

Works on plain values alone, since records are read without torch.
"""

from collections.abc import Mapping
from typing import Any

_OPTIONS = {
    "normalisation": "normalization",
    "doubt": "min_runner_up_probability",
    "pardon": "discount_symmetric_noise",
}
_VALUES = {("pseudo_labels", "average"): "ema", ("virtual_step", "linearised"): "linearized"}
_TRAINING = {"average": "ema_decay"}

_TRAINED = {"outlines": "fused", "workers": 0}
"""Options of training that earlier runs do not name, with what all of them had."""

_AUGMENTED = {"intensity": False}
"""Of the augmentation."""

_FIXED = {"tangents": "all", "min_region_pixels": 10, "dcd_maximum": 100.0}
"""Options that are gone from both methods, with the values that both have now."""

_PAPER = {
    "memory": "persistent",
    "pseudo_labels": "current",
    "virtual_step": "exact",
    "meta_every": 1,
    "gold_momentum": 0.0,
    "dice": "given",
}
"""What the paper's method is now without being asked."""

_WITHOUT_A_SAY = {
    "binned": ("memory", "eta", "meta_scaling", "normalization"),
    "metadcseg": ("cross_fit", "min_runner_up_probability", "discount_symmetric_noise"),
}

_WITH_FORWARD_MODE = ("metadcseg", "binned", "l2b")
"""Methods with an option that earlier runs do not name: all of them had the engine, which ``auto`` is."""

_LAYERS = {"upsampling": "learned", "activation": "leaky_relu", "size": None, "pretrained": None}
"""Options of the network that earlier runs do not name, with what all of them had."""

_L2B = {
    "lambda_boundary": 0.0,
    "lambda_dice": 0.0,
    "boundary_ratio": 0.11,
    "edge_threshold": 0.1,
    "temperature": 0.5,
}
"""Of the method ``l2b``, which had no boundary term and no Dice loss."""

_ADDED: dict[Any, dict[str, Any]] = {
    "l2b": _L2B,
    "glc": {"matrix": "pairs", "warmup": 15},
    "hamil": {"warmup": 25},
    "coteaching": {"pairs": False},
    "trinet": {"pairs": False},
    "adele": {"multiscale": False},
}
"""Method -> options that its earlier runs do not name, with what all of them had."""

_META_WITHOUT_PAIRS = "auto"  # what the method calibrated had as default of "meta"
_OF_LIKENESS = ("bound", "witness_strength", "like_pairs")  # its options before shares were matched

UNRESUMABLE = "unresumable"
"""Under this key an upgraded ``run.json`` says which options keep every method of today from going on with the run."""


def upgraded(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``run.json`` of a run says, in the words of today; a run of today stays as it is.

    Args:
        info: as it was read; whatever is missing or odd in it stays so.

    Example:
        >>> old = {"method": "metadcseg", "options": {"memory": "shared", "doubt": 0.1, "eta": 0.01, "tangents": "all"}}
        >>> upgraded(old)
        {'method': 'binned', 'options': {'min_runner_up_probability': 0.1, 'forward_mode': 'auto'}}
        >>> upgraded({"method": "metadcseg", "options": {"memory": "none"}})["unresumable"]
        "memory 'none'"
    """
    found = _as_trained(dict(info))
    method, options = found.get("method"), found.get("options")
    if isinstance(options, Mapping):
        if method in _WITH_FORWARD_MODE:
            options = {**options, "forward_mode": options.get("forward_mode", "auto")}
        found["options"] = options = {**_ADDED.get(method, {}), **options}
        if method == "calibrated":
            if "stand_in" not in options:
                found |= _calibrated(options)
            alone = not found["options"].get("pairs", True)  # without pairs it has no say
            found["options"] = options = {"shrink_directions": alone, **found["options"]}
        if isinstance(found.get("declaration"), Mapping):
            found["declaration"] = {"asks_gold": _asks_gold(method, options), **found["declaration"]}
        if method == "metadcseg" and "memory" in options:
            return _with_memory(found, options)
    return found


def _as_trained(found: dict[str, Any]) -> dict[str, Any]:
    """Give training and network the names and options of today."""
    if isinstance(found.get("training"), Mapping):
        known = {_TRAINING.get(name, name): value for name, value in found["training"].items()}
        found["training"] = {**_TRAINED, **known}
        if isinstance(known.get("augment"), Mapping):
            found["training"]["augment"] = {**_AUGMENTED, **known["augment"]}
    if isinstance(found.get("network"), Mapping):
        known = {name: value for name, value in found["network"].items() if name != "encoder"}
        found["network"] = {**_LAYERS, **known}
    return found


def _with_memory(found: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Tell ``metadcseg`` and ``binned`` apart, which were one method whose option ``memory`` chose."""
    method = "binned" if options["memory"] == "shared" else "metadcseg"
    renamed = {_OPTIONS.get(name, name): _value(name, value) for name, value in options.items()}
    fixed = _FIXED if method == "binned" else _FIXED | _PAPER
    odd = [f"{name} {renamed[name]!r}" for name, value in fixed.items() if renamed.get(name, value) != value]
    if method == "metadcseg" and renamed.get("cross_fit") and renamed.get("clean_supervision"):
        odd.append("cross_fit True")
    gone = {*fixed, *_WITHOUT_A_SAY[method]}
    found["method"] = method
    found["options"] = {name: value for name, value in renamed.items() if name not in gone}
    if found.get("label") == "metadcseg":  # as runs are called that were given no name
        found["label"] = method
    if odd:
        found[UNRESUMABLE] = ", ".join(odd)
    return found


def upgraded_checkpoint(state: dict[str, Any]) -> dict[str, Any]:
    """Return a checkpoint of format 3 as one of today: the updater's moving average had another name."""
    updater = dict(state["updater"])
    if "averaged" in updater:
        updater["ema_model"] = updater.pop("averaged")
    return {**state, "updater": updater}


def _calibrated(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a run of ``calibrated`` that knew no stand-ins, and what of them has no method today."""
    meta = options.get("meta", False)
    if isinstance(meta, str):
        meta = meta == "always" or (meta == _META_WITHOUT_PAIRS and not options.get("pairs", True))
    kept = {name: value for name, value in options.items() if name not in _OF_LIKENESS}
    found: dict[str, Any] = {"options": {**kept, "stand_in": 0, "meta": meta}}
    if odd := [f"{name} {options[name]!r}" for name in _OF_LIKENESS if name in options]:
        found["options"]["match_shares"] = False
        found[UNRESUMABLE] = ", ".join(odd)
    return found


def _asks_gold(method: Any, options: Mapping[str, Any]) -> bool:
    """Return whether gold weighs or corrects other labels, which earlier runs do not declare."""
    stands_in = bool(options.get("stand_in")) and not options.get("pairs")
    return method in ("l2b", "meta_weight_net") or options.get("meta") is True or stands_in


def _value(name: str, value: Any) -> Any:
    return _VALUES.get((name, value), value) if isinstance(value, str) else value
