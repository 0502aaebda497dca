"""Networks out of fold: each mask is judged by a network that has never been shown it."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from warnings import warn

from rich.console import Console

from metadcseg.audit.predictors import OwnNetwork, own_network
from metadcseg.audit.probability import Maps
from metadcseg.audit.units import Unit
from metadcseg.data.splits.folds import blocks_of, deal, unit_id, units_of
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError, Note, shown
from metadcseg.files import output_folder
from metadcseg.networks.weights_file import read_bytes
from metadcseg.training import train
from metadcseg.training.run.folder import options_of_run

_LEAST_GOLD = 2
"""So many gold cases at least stay in every fold's training, where gold is dealt out as well."""


@dataclass(frozen=True)
class OutOfFold:
    """Networks of several folds, each asked about the cases that it was not trained on.

    Args:
        networks: one for each fold.
        fold_of: id of an image or volume -> number of its fold; others are judged by the first network.
        pairs_seen_in_training: whether the networks were trained on the verified masks of the pairs.
        start: the file of weights that they began with, which may know all masks; None: none.
    """

    networks: Sequence[OwnNetwork]
    fold_of: Mapping[str, int]
    pairs_seen_in_training: bool
    start: str | None = None
    seen_in_training: bool = False

    @property
    def name(self) -> str:
        """As ``audit.json`` says it."""
        begun = "" if self.start is None else f", begun with {shown(Path(self.start).name)}"
        return f"out of fold, {len(self.networks)}{begun}"

    @property
    def load(self) -> Callable[[], "OutOfFold"]:
        """What loads them in another process."""
        return partial(
            _again,
            [network.load for network in self.networks],
            self.fold_of,
            pairs_seen=self.pairs_seen_in_training,
            start=self.start,
        )

    def of(self, unit: Unit) -> Iterator[Maps]:
        """Yield the class probabilities of every slice of a case, (L, H, W) float32, at its own size."""
        return self.networks[self.fold_of.get(unit.id, 0)].of(unit)


def _again(
    loads: Sequence[Callable[[], OwnNetwork]],
    fold_of: Mapping[str, int],
    *,
    pairs_seen: bool,
    start: str | None,
) -> OutOfFold:
    return OutOfFold([load() for load in loads], fold_of, pairs_seen, start)


def out_of_fold(
    info: Mapping[str, Any],
    prepared: PreparedSet,
    folds: int,
    out: Path,
    device: str | None,
    console: Console | None,
    *,
    trust_code: bool = False,
) -> OutOfFold:
    """Train a network for each fold, with a run's own options, and return them; what is trained already is read.

    Whole groups are dealt to the folds. Gold is dealt as well where enough stays for every training, else all networks
    are trained on all of it. Several devices are not used.

    Args:
        info: what ``run.json`` says.
        prepared: the set.
        folds: how many.
        out: the folder that takes a run for each fold.
        device: where the networks compute; None takes a GPU where there is one.
        console: where progress is shown; None shows nothing.
        trust_code: whether a class of a network that ``run.json`` names may be imported; its code runs then.

    Raises:
        InputError: where there are too few groups, or a training refuses.
        KeyboardInterrupt: where a training was stopped.
    """
    method, network, options = options_of_run(info, trust_code)
    place: dict[str, Any] = {"accelerator": (device or "auto").partition(":")[0]}
    options = replace(options, devices=1, nodes=1, **place)
    if network.pretrained is not None:
        begun = all((out / f"fold-{number}" / "checkpoints").is_dir() for number in range(1, folds + 1))
        told = info.get("pretrained") or {}
        file = Path(told.get("path", network.pretrained))
        network = replace(network, pretrained=str(file))
        if not begun:
            _check_start(file, told.get("sha256"))
    roles = {unit_id(case): case.role for case in prepared.cases}
    units = [unit for unit in units_of(prepared) if roles[unit.id] in ("train", "gold")]
    blocks = blocks_of(units)
    if not 2 <= folds <= len(blocks):
        raise InputError(
            f"--folds must be from 2 to {len(blocks)}, the number of groups (patients, volumes, equal images) among "
            f"the training cases, got {folds}"
        )
    dealt = [
        {unit.id for name in names for unit in blocks[name]}
        for names in deal(blocks, folds, int(info["seed"]))
    ]
    gold = {unit_id(case) for case in prepared.select("gold")}
    least = max(_LEAST_GOLD, method.info.least_gold)
    gold_is_dealt = all(
        sum(unit_id(c) not in left for c in prepared.select("gold")) >= least for left in dealt
    )
    networks = []
    for number, left in enumerate(dealt, start=1):
        held_out = left if gold_is_dealt else left - gold
        others = prepared.with_roles(dict.fromkeys(held_out, "test"))
        folder = output_folder(out.parent, out.name, f"fold-{number}")
        if console is not None:
            console.print(f"fold {number} of {folds}", highlight=False, markup=False)
        result = train(
            others,
            method,
            network,
            options,
            folder,
            seed=int(info["seed"]),
            resume=True,
            console=console,
            label=f"{info['label']}, fold {number}",
        )
        if result.interrupted:
            raise KeyboardInterrupt
        networks.append(own_network(folder, prepared, device, trust_code=trust_code))
    fold_of = {id: fold for fold, left in enumerate(dealt) for id in left}
    seen = method.info.needs_gold and not gold_is_dealt
    return OutOfFold(networks, fold_of, seen, network.pretrained)


def _check_start(file: Path, digest: str | None) -> None:
    """Refuse other weights to begin with than the run's, and say that they may know the masks.

    Raises:
        InputError: where the file is not there, or not the one that the run began with.
    """
    if not file.is_file():
        raise InputError(
            f"--folds trains as the run was trained, from network.pretrained {file}, which is not there: put it back"
        )
    if digest not in (None, hashlib.sha256(read_bytes(file, "network.pretrained")).hexdigest()):
        raise InputError(
            f"network.pretrained {file} is another file than the run began with: put that one back"
        )
    warn(
        f"the networks of all folds begin with network.pretrained {file}: where it was trained on these masks, nothing "
        "is out of fold",
        Note,
        stacklevel=3,
    )
