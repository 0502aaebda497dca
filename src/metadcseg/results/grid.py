"""A grid: data sets x noise x gold x rows (methods with options) x seeds, and the runs that it stands for.

The benchmark contract is kept here: every row gets the same set, the same noise, the same gold and budget. Rows differ
in a method's own options and, where the report says so, in the network. The three honest rows stand beside every other.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any

from metadcseg.data.splits.gold_slices import GoldSlices

HONEST: dict[str, dict[str, Any]] = {
    "noisy only": {"method": "supervised"},
    "noisy + gold": {"method": "supervised", "supervised": {"gold": "mixed"}},
    "clean labels": {"method": "supervised", "supervised": {"labels": "clean"}},
}
"""The rows that every table has: what a method has to beat, and what it cannot.

The last may use the gold masks besides, as a row that every method with gold is measured by.
"""

MOST_FOLDS = 20
"""So many may a cross-validation of a grid have."""


@dataclass(frozen=True)
class Noise:
    """Label noise of the training masks.

    Args:
        model: as ``corrupt --model``.
        rate: mean of 1 - DSC; 0 leaves the masks as they are.
    """

    model: str = "paper"
    rate: float = 0.0

    @property
    def name(self) -> str:
        """What folders and tables call it.

        Example:
            >>> Noise("over", 0.4).name, Noise().name
            ('over-0.4', 'clean')
        """
        return f"{self.model}-{self.rate:g}" if self.rate else "clean"


@dataclass(frozen=True)
class Task:
    """One run of the grid: a training and its evaluation; with folds, all of them.

    Args:
        set: key of the data set.
        noise: of its training masks.
        gold: share or number of gold cases, or share of the slices, drawn for it; None: those that the set has.
        row: name of the row.
        seed: of noise, split and training.
        folds: number of folds, None for the set's own split.
    """

    set: str
    noise: Noise
    gold: float | int | GoldSlices | None
    row: str
    seed: int
    folds: int | None = None

    @property
    def data(self) -> str:
        """The folder of its noisy set, below ``sets``: the same for all rows.

        Example:
            >>> Task("la", Noise("paper", 0.4), 0.02, "noisy + gold", 1).data
            'la/gold-0.02/paper-0.4/seed-1'
        """
        folds = [] if self.folds is None else [f"folds-{self.folds}"]
        gold = [] if self.gold is None else [_gold_folder(self.gold)]
        return "/".join([self.set, *folds, *gold, self.noise.name, f"seed-{self.seed}"])

    @property
    def dealt(self) -> str | None:
        """The folder of the clean set with its gold, below ``sets``; None where the gold is the set's own.

        Example:
            >>> Task("la", Noise("paper", 0.4), GoldSlices(0.02), "noisy + gold", 1).dealt
            'la/gold-slices-0.02/set-1'
        """
        return None if self.gold is None else f"{self.set}/{_gold_folder(self.gold)}/set-{self.seed}"

    @property
    def parts(self) -> list[str]:
        """The folders of its trainings, below its own: one for each fold, or its own.

        Example:
            >>> noise = Noise("paper", 0.4)
            >>> Task("la", noise, None, "a", 1, folds=2).parts, Task("la", noise, None, "a", 1).parts
            (['fold-1/run', 'fold-2/run'], [''])
        """
        return [""] if self.folds is None else [f"fold-{fold + 1}/run" for fold in range(self.folds)]

    @property
    def id(self) -> str:
        """Unique in the grid, and its folder below ``runs``.

        Example:
            >>> Task("la", Noise("paper", 0.4), None, "noisy + gold", 1).id
            'la/paper-0.4/noisy-gold/seed-1'
        """
        place, _, seed = self.data.rpartition("/")
        return f"{place}/{folder_name(self.row)}/{seed}"


@dataclass(frozen=True)
class Grid:
    """What a grid file says.

    Args:
        name: of the experiment.
        sets: key -> words of ``metadcseg prepare`` that make it, or the path of a clean prepared set.
        noise: of the training masks.
        gold: shares or numbers of gold cases, or shares of the slices; (None,) leaves the sets' own.
        rows: name -> method and its own options, as in a ``--config`` file.
        seeds: of noise, split and training.
        config: the preset or file that all rows start from.
        options: ``network`` and ``training`` of all rows, and options of methods wherever these are used.
        folds: for cross-validation.
        partial: why the honest rows are left out; the report says it.
        given: all that its file says, to be written down.
    """

    name: str
    sets: Mapping[str, str]
    noise: tuple[Noise, ...]
    rows: Mapping[str, Mapping[str, Any]]
    seeds: tuple[int, ...] = (0, 1, 2)
    gold: tuple[float | int | GoldSlices | None, ...] = (None,)
    config: str = "small"
    options: Mapping[str, Any] = field(default_factory=dict)
    folds: int | None = None
    partial: str | None = None
    given: Mapping[str, Any] = field(default_factory=dict)

    def tasks(self) -> list[Task]:
        """Return all runs, seed by seed, so that a first answer is there early."""
        axes = product(self.seeds, self.sets, self.noise, self.gold, self.rows)
        return [Task(name, noise, gold, row, seed, self.folds) for seed, name, noise, gold, row in axes]

    def home(self, task: Task) -> Task:
        """Return the run that gives a task its numbers: its own, but for clean labels, which no noise changes.

        Example:
            >>> noise = Noise(rate=0.2), Noise(rate=0.4)
            >>> grid = Grid("x", {"la": "la-set"}, noise, HONEST, seeds=(0,))
            >>> [grid.home(task).id for task in grid.tasks() if task.noise.rate == 0.4]
            ['la/paper-0.4/noisy-only/seed-0', 'la/paper-0.4/noisy-gold/seed-0', 'la/paper-0.2/clean-labels/seed-0']
        """
        if task.folds is None and is_honest(self.options_of(task.row), HONEST["clean labels"]):
            return replace(task, noise=self.noise[0])
        return task

    def options_of(self, row: str) -> dict[str, Any]:
        """Return the content of a ``--config`` file for a row; a network of its own replaces that of the others.

        Example:
            >>> rows = {"a": {"method": "pairs"}, "b": {"method": "pairs", "network": {"name": "unet"}}}
            >>> grid = Grid("x", {"la": "la-set"}, (Noise(),), rows, options={"network": {"width": 8}})
            >>> [grid.options_of(row)["network"] for row in rows]
            [{'width': 8}, {'name': 'unet'}]
        """
        chosen = self.rows[row]
        own = chosen.get("network", {}).get("name")
        shared = {key: value for key, value in self.options.items() if own is None or key != "network"}
        return merged(shared, chosen)


def _gold_folder(gold: float | int | GoldSlices) -> str:
    return f"gold-{folder_name(str(gold))}"


def folder_name(row: str) -> str:
    """Return a row's name as a folder can have it.

    Example:
        >>> folder_name("noisy + gold"), folder_name("../MetaDCSeg (paper)")
        ('noisy-gold', 'MetaDCSeg-paper')
    """
    return re.sub(r"[^A-Za-z0-9.]+", "-", row).strip("-.") or "row"


def merged(first: Mapping[str, Any], second: Mapping[str, Any]) -> dict[str, Any]:
    """Return both, the second outweighing the first key by key.

    Example:
        >>> merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}})
        {'a': {'b': 3, 'c': 2}}
    """
    found = dict(first)
    for key, value in second.items():
        before = found.get(key)
        both = isinstance(value, Mapping) and isinstance(before, Mapping)
        found[key] = merged(before, value) if both else value  # type: ignore[arg-type]
    return found


def is_honest(row: Mapping[str, Any], honest: Mapping[str, Any]) -> bool:
    """Return whether a row's options make it one of :data:`HONEST`; with the true masks, gold may be used or not.

    Example:
        >>> row = {"method": "supervised", "supervised": {"labels": "clean", "gold": "mixed"}}
        >>> [name for name, honest in HONEST.items() if is_honest(row, honest)]
        ['clean labels']
    """
    defaults = {"gold": "none", "labels": "noisy"}
    wanted = {**defaults, **honest.get("supervised", {})}
    held = {**defaults, **row.get("supervised", {})}
    if wanted["labels"] == "clean":
        wanted["gold"] = held["gold"]
    return row["method"] == "supervised" and all(held[key] == value for key, value in wanted.items())
