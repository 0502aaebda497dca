"""What a training says of itself before its first step."""

from collections.abc import Mapping
from typing import Any


def opening(info: Mapping[str, Any], devices: int, resumed: str) -> str:
    """Return the first sentence of a run, from its record.

    Args:
        info: what ``run.json`` holds (:func:`metadcseg.training.run.identity.describe`).
        devices: how many share the training.
        resumed: what is to be added of a run that goes on, or nothing.
    """
    solid = info["network"]["spatial_dims"] == 3
    cases, declared = info["set"]["volumes" if solid else "cases"], info["declaration"]
    gold = f", {cases['gold']} gold" if _reads_gold(declared) else ", no gold"
    if declared["uses_pairs"]:
        gold += f" ({pairs_of(info)} with the mask that it replaced)"
    val = (
        f"{cases['val']} for validation"
        if cases["val"]
        else "none for validation, so the last weights are kept"
    )
    many = f"{devices} x " if devices > 1 else ""
    return (
        f"{info['label']}: {cases['train']} training {'volumes' if solid else 'cases'}{gold}, {val}; network of "
        f"{info['parameters'] / 1e6:.2f} million parameters on {many}{info['machine']['device']}{resumed}"
    )


def too_little(info: Mapping[str, Any]) -> str | None:
    """Return the warning of a method whose trust has too few pairs, or gold cases, to come from; else None."""
    declared = info["declaration"]
    if not _reads_gold(declared):
        return None
    kind = "volume" if info["network"]["spatial_dims"] == 3 else "case"
    gold = int(info["set"][f"{kind}s"]["gold"])
    if declared["uses_pairs"] and pairs_of(info) < 2:
        held, so = (
            (f"no gold {kind} has", "trusts every label")
            if not pairs_of(info)
            else (f"only one gold {kind} has", "learns little or nothing of how masks are wrong")
        )
        return (
            f"warning: {held} the mask that its verified one replaced, so {info['method']} {so}: keep the old mask "
            "of a verified case in masks/ and put the verified one into gold/"
        )
    if gold < declared["least_gold"]:
        return (
            f"warning: {gold} gold {kind}{'' if gold == 1 else 's'}, but {info['method']} learns trust from "
            f"{declared['least_gold']} on, so it trusts every label: verify more"
        )
    return None


def _reads_gold(declared: Mapping[str, Any]) -> bool:
    return bool(declared["needs_gold"] or declared["supervises_gold"])


def pairs_of(info: Mapping[str, Any]) -> int:
    """Return how many gold cases, or volumes for a network of volumes, have the mask that was replaced."""
    solid = info["network"]["spatial_dims"] == 3
    return int(info["set"]["pairs"]["volumes" if solid else "cases"] or 0)
