"""The settings of a run that its later parts must share, and whether they do."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from metadcseg.methods import METHODS
from metadcseg.networks import NETWORKS, NetworkOptions
from metadcseg.results.records import same_content
from metadcseg.training.options import TrainingOptions

_MAY_CHANGE = (
    *("epochs", "checkpoint_minutes", "figure_every"),
    *("threads", "workers", "devices", "nodes", "accelerator"),
)
"""Training options that decide where and how long a run goes, not what each of its steps does."""


def differences(there: Mapping[str, Any], now: Mapping[str, Any]) -> list[str]:
    """Return one phrase for every setting in which two runs differ and that a resumed run must not change.

    The number of epochs may grow, never shrink. An option that an earlier version did not have counts as its default.
    Sets whose edges alone differ are one: these round otherwise on another kind of processor.
    """
    before, after = _settings(_completed(there)), _settings(now)
    if same_content(there["set"], now["set"]):
        after["data"] = before["data"]
    found = [
        f"{name}: {_shown(before, name)} there, {_shown(after, name)} now"
        for name in sorted(before | after)
        if before.get(name, ...) != after.get(name, ...)
    ]
    epochs = there["training"].get("epochs", 0), now["training"]["epochs"]
    if epochs[1] < epochs[0]:
        found.append(f"training.epochs: {epochs[0]} there, {epochs[1]} now, and it may only grow")
    return found


def _completed(there: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a run says of itself with the defaults of the options that were added since."""
    kind = METHODS.get(there["method"])
    name = there["network"].get("name", NetworkOptions().name)
    defaults = {
        "options": {} if kind is None else asdict(kind()),
        "network": asdict(NetworkOptions(name)) if name in NETWORKS else {},
        "training": asdict(TrainingOptions()),
    }
    plain: dict[str, Any] = json.loads(json.dumps(defaults))
    return {**there, **{group: _filled(there[group], held) for group, held in plain.items()}}


def _filled(held: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return values with the defaults of those that are not there, at every depth."""
    return {
        **defaults,
        **{
            name: _filled(value, below)
            if isinstance(value, Mapping) and isinstance(below := defaults.get(name), Mapping)
            else value
            for name, value in held.items()
        },
    }


def _settings(info: Mapping[str, Any]) -> dict[str, Any]:
    training = {name: value for name, value in info["training"].items() if name not in _MAY_CHANGE}
    groups = {info["method"]: info["options"], "network": info["network"], "training": training}
    flat = {f"{group}.{name}": value for group, values in groups.items() for name, value in values.items()}
    return {"method": info["method"], "seed": info["seed"], "data": info["set"].get("fingerprint"), **flat}


def _shown(settings: Mapping[str, Any], name: str) -> str:
    value = settings.get(name, "nothing")
    return f"fingerprint {str(value)[:12]}" if name == "data" else str(value)
