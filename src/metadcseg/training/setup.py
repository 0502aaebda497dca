"""What must fit together before the first step: method and set, device, network, state."""

from dataclasses import dataclass
from math import ceil

import torch
from lightning_fabric import Fabric
from torch import nn

from metadcseg.data.loading import TrainingView
from metadcseg.data.store import PreparedSet
from metadcseg.errors import InputError
from metadcseg.methods.contract import Declaration, Method, MethodState, Storage
from metadcseg.networks import NetworkOptions, create_network
from metadcseg.training.options import TrainingOptions
from metadcseg.training.randomness import derive_seed
from metadcseg.training.updater import SgdUpdater


@dataclass(frozen=True)
class Views:
    """The cases a method gets to see.

    Args:
        train: with the labels that the method declares.
        gold: verified cases, None for a method that declares none.
    """

    train: TrainingView
    gold: TrainingView | None

    def steps(self, batch: int) -> int:
        """Return the steps of one epoch; the last one may be smaller."""
        return ceil(len(self.train) / batch)


def open_views(prepared: PreparedSet, method: Method, options: TrainingOptions, seed: int) -> Views:
    """Return views of the roles that a method declares, and of no other.

    Raises:
        InputError: where the set lacks what the method needs.
    """
    declared = method.declaration
    _check_cases(prepared, method.name, declared)
    train = TrainingView(
        prepared, "train", options.size, labels=declared.labels, augment=options.augment, seed=seed
    )
    gold = None
    if reads_gold(declared):
        gold = TrainingView(prepared, "gold", options.size, augment=options.augment, seed=seed)
    return Views(train, gold)


def reads_gold(declared: Declaration) -> bool:
    """Return whether a method gets gold batches."""
    return declared.needs_gold or declared.supervises_gold


def open_fabric(options: TrainingOptions) -> Fabric:
    """Return Fabric for one device.

    Raises:
        InputError: where this machine has no such device.
    """
    try:
        return Fabric(accelerator=options.accelerator, devices=1, precision=options.precision)
    except (RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(
            f"training.accelerator: {options.accelerator} is not to be had on this machine ({reason}); "
            "use auto or cpu"
        ) from error


def build(
    views: Views,
    method: Method,
    network: NetworkOptions,
    options: TrainingOptions,
    fabric: Fabric,
    seed: int,
    storage: Storage,
) -> tuple[nn.Module, SgdUpdater, MethodState]:
    """Return network, updater and method state before the first step; all of it follows from the seed."""
    initial = torch.Generator().manual_seed(derive_seed(seed, "network"))
    made = (
        create_network(network, views.train.channels, views.train.classes, initial).to(fabric.device).train()
    )
    updater = SgdUpdater(made, options, fabric)
    generator = torch.Generator().manual_seed(derive_seed(seed, "method"))
    return made, updater, method.start(made, updater, generator, storage)


def _check_cases(prepared: PreparedSet, name: str, declared: Declaration) -> None:
    if not prepared.select("train"):
        raise InputError(f"{prepared.path} has no train cases; prepare it again from a folder that has some")
    if reads_gold(declared) and not prepared.select("gold"):
        raise InputError(
            f"method '{name}' needs verified masks and {prepared.path} has no gold cases; name some (a "
            "folder gold/, or gold.txt) and prepare the set again, or choose options or a method without gold"
        )
    if declared.labels == "truth" and not all(case.has_truth for case in prepared.select("train")):
        raise InputError(
            f"method '{name}' with these options trains on reference masks, which {prepared.path} does not "
            "have; use a set with injected noise, or other options"
        )
