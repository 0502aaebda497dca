"""What a training says of itself before its first step."""

from collections.abc import Mapping
from typing import Any

from metadcseg.methods.calibrated.evidence import LEAST_GROUPS


def opening(info: Mapping[str, Any], devices: int, resumed: str) -> str:
    """Return the first sentence of a run, from its record.

    Args:
        info: what ``run.json`` holds (:func:`metadcseg.training.run.identity.describe`).
        devices: how many share the training.
        resumed: what is to be added of a run that goes on, or nothing.
    """
    solid = info["network"]["spatial_dims"] == 3
    cases, declared = info["set"]["volumes" if solid else "cases"], info["declaration"]
    reads_gold = declared["needs_gold"] or declared["supervises_gold"]
    gold = f", {cases['gold']} gold" if reads_gold else ", no gold"
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


def lacking_pairs(info: Mapping[str, Any]) -> str | None:
    """Return the warning of a method whose trust has too few pairs, or gold cases, to come from; else None."""
    if info["method"] == "calibrated" and not info["declaration"]["uses_pairs"]:
        return _lacking_gold(info)
    if not info["declaration"]["uses_pairs"] or pairs_of(info) > 1:
        return None
    method, held = info["method"], {0: "no gold case has", 1: "only one gold case has"}[pairs_of(info)]
    if method == "glc" and pairs_of(info) == 1:
        return None  # it counts pixels, also of a single pair
    way_out = ", or learn trust from gold alone: --calibrated.pairs false" if method == "calibrated" else ""
    return (
        f"warning: {held} the mask that its verified one replaced, so {method} trusts every label: keep the old mask "
        f"of a verified case in masks/ and put the verified one into gold/{way_out}"
    )


def _lacking_gold(info: Mapping[str, Any]) -> str | None:
    solid = info["network"]["spatial_dims"] == 3
    gold = int(info["set"]["volumes" if solid else "cases"]["gold"])
    if gold >= LEAST_GROUPS or info["options"]["meta"] == "never":
        return None
    kind = ("volume" if solid else "case") + ("" if gold == 1 else "s")
    return (
        f"warning: {gold} gold {kind}, but without pairs calibrated asks gold from {LEAST_GROUPS} on, so it trusts "
        "every label: verify more"
    )


def pairs_of(info: Mapping[str, Any]) -> int:
    """Return how many gold cases, or volumes for a network of volumes, have the mask that was replaced."""
    solid = info["network"]["spatial_dims"] == 3
    return int(info["set"]["pairs"]["volumes" if solid else "cases"] or 0)
