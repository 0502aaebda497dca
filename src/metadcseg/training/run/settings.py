"""The settings of a run that its later parts must share, and whether they do."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

_MAY_CHANGE = (
    *("epochs", "checkpoint_minutes", "figure_every"),
    *("threads", "workers", "devices", "nodes", "accelerator"),
)
"""Training options that decide where and how long a run goes, not what each of its steps does."""


def settings_digest(info: Mapping[str, Any]) -> str:
    """Return the sha256 of all settings that a resumed run must not change, as 64 hexadecimal digits.

    Args:
        info: what :func:`describe` returned.
    """
    return hashlib.sha256(json.dumps(_settings(info), sort_keys=True).encode()).hexdigest()


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one phrase for every setting in which two runs differ and that a resumed run must not change.

    The number of epochs may grow, never shrink.
    """
    before, after = _settings(there), _settings(now)
    found = [
        f"{name}: {_shown(before, name)} there, {_shown(after, name)} now"
        for name in sorted(before | after)
        if before.get(name, ...) != after.get(name, ...)
    ]
    epochs = there["training"].get("epochs", 0), now["training"]["epochs"]
    if epochs[1] < epochs[0]:
        found.append(f"training.epochs: {epochs[0]} there, {epochs[1]} now, and it may only grow")
    return found


def _settings(info: Mapping[str, Any]) -> dict[str, Any]:
    training = {name: value for name, value in info["training"].items() if name not in _MAY_CHANGE}
    groups = {info["method"]: info["options"], "network": info["network"], "training": training}
    flat = {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
    return {"method": info["method"], "seed": info["seed"], "data": info["set"].get("fingerprint"), **flat}


def _shown(settings: Mapping[str, Any], name: str) -> str:
    value = settings.get(name, "nothing")
    return f"content {str(value)[:12]}" if name == "data" else str(value)
