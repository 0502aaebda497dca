"""``--config auto``, the default: the preset ``small``, fitted to the images and to the machine."""

from collections.abc import Mapping
from typing import Any

from jsonargparse import Namespace

from metadcseg.cli.config import run_config, uses_auto
from metadcseg.cli.parsing import read_preset
from metadcseg.data.store.reader import PreparedSet
from metadcseg.training.auto import Choice, choose
from metadcseg.training.run.identity import count_pairs

RECIPE = "small"
"""The preset whose learning rates, clipping and warm-ups hold; size, width, batch and epochs are chosen."""


def with_auto(options: Namespace, prepared: PreparedSet) -> tuple[Namespace, str | None]:
    """Return the options with what is not said chosen, and what was chosen in words; where a file is given, neither.

    Args:
        options: parsed.
        prepared: the set to train on.

    Raises:
        InputError: where an option has a value that it must not have, or a mask is damaged.
    """
    if not uses_auto(options):
        return options, None
    config = run_config(options)
    choice = choose(prepared, config.network, config.training, options.said)
    return options.again(fitted(read_preset(RECIPE), choice), "auto"), choice.sentence


FITTED = ("pairs",)
"""The options of ``calibrated`` that :func:`fitted_to_pairs` chooses."""


def fitted_to_pairs(options: Namespace, prepared: PreparedSet) -> tuple[Namespace, str | None]:
    """Return the options with ``calibrated.pairs`` off where the set has too few pairs, and a sentence that says so.

    Of fewer than two gold cases nothing learns trust, with stand-ins or without: training says so.

    Args:
        options: parsed, left as they are; an option that was said stays as it is.
        prepared: the set to train on.
    """
    if options.method != "calibrated" or "calibrated.pairs" in options.said or not options.calibrated.pairs:
        return options, None
    kind = "volume" if options.network.spatial_dims == 3 else "case"
    pairs = count_pairs(prepared)[f"{kind}s"] or 0
    verified = prepared.select("gold")
    gold = len(verified) if kind == "case" else len({case.volume for case in verified})
    if pairs > 1 or gold < 2:
        return options, None
    options = options.clone()  # a cross-validation asks for every fold
    options["calibrated.pairs"] = False
    held = f"no gold {kind} has" if not pairs else f"only one gold {kind} has"
    return options, (
        f"{held} the mask that its verified one replaced, so what the network draws on gold images stands in for it "
        "(--calibrated.pairs false)"
    )


def fitted(recipe: Mapping[str, Any], choice: Choice) -> dict[str, Any]:
    """Return a preset with what was chosen in place of its own, its warm-ups as long a part of the training.

    Args:
        recipe: what a preset says.
        choice: what was chosen.
    """
    planned = recipe["training"]["epochs"]
    tree: dict[str, Any] = {}
    for group, values in recipe.items():
        if isinstance(values, Mapping):
            early = {name: values[name] for name in ("warmup", "stand_in") if name in values}
            shorter = {name: round(epochs * choice.epochs / planned) for name, epochs in early.items()}
            if shorter.get("stand_in") == 1:
                shorter["stand_in"] = 2  # a network draws in the second half of these epochs
            values = {**values, **shorter}
        tree[group] = values
    tree["network"] = {**tree.get("network", {}), **choice.network}
    tree["training"] = {**tree["training"], **choice.training}
    return tree
