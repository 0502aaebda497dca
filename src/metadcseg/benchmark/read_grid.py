"""Read a grid from a file of plain values, and say what is wrong with it before anything runs."""

import json
import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.errors import InputError, shortened, shown
from metadcseg.results.grid import HONEST, MOST_FOLDS, Grid, Noise, folder_name, is_honest, merged
from metadcseg.schemas import fitting
from metadcseg.yaml_file import read_yaml

_AGAIN = "correct the grid"
_SHARED = ("network", "training")
_LONGEST = 80
_OWN = (".yaml", ".txt", ".lock")
_MOST_RUNS = 100_000

Rate = Annotated[float, Meta(ge=0, lt=1)]


class NoiseSaid(Struct, forbid_unknown_fields=True):
    """An entry of ``noise`` that names its model."""

    rate: Rate
    model: str = "paper"


class RowSaid(Struct):
    """A row; its method's options stand under the method's name."""

    method: str
    network: dict[str, Any] = {}


class GridSaid(Struct, kw_only=True, forbid_unknown_fields=True):
    """A grid, as its file says it; what sets, rows and gold may hold is told in more words than a schema has."""

    name: str | None = None
    sets: dict[Any, Any] = {}
    rows: dict[Any, Any] = {}
    noise: list[Rate | NoiseSaid] = []
    gold: list[Any] = []
    folds: Annotated[int, Meta(ge=2, le=MOST_FOLDS)] | None = None
    vary: dict[Any, Any] = {}
    seeds: list[Annotated[int, Meta(ge=0, le=2**63 - 1)]] = []
    config: str = "small"
    options: dict[str, Any] = {}
    partial: str | None = None
    about: str | None = None
    next: list[str] = []


def read_grid(file: Path) -> Grid:
    """Read a grid.

    Raises:
        InputError: naming the file and the key, where something is missing, unknown or not allowed.
    """
    held = read_yaml(file, str(file))
    try:
        json.dumps(held, default=str)
    except TypeError as error:
        raise InputError(f"{file}: {error}: put names into quotes") from error
    return grid_of(held, str(file))


def grid_of(held: Mapping[str, Any], where: str) -> Grid:
    """Return the grid that plain values describe.

    Args:
        held: what the file holds.
        where: the file, for sentences.

    Raises:
        InputError: see :func:`read_grid`.

    Example:
        >>> grid = grid_of({"sets": {"la": "la-set"}, "noise": [0, {"model": "over", "rate": 0.4}],
        ...                 "rows": dict(HONEST), "seeds": [0]}, "grid.yaml")
        >>> len(grid.tasks()), grid.tasks()[0].id
        (6, 'la/clean/noisy-only/seed-0')
    """
    said: GridSaid = fitting(held, GridSaid, where, _AGAIN)
    for key in ("sets", "rows"):
        if not getattr(said, key):
            raise InputError(f"{where}: {key} is missing: a grid needs sets and rows at least")
    sets = {_key(name, where): _set(name, value, where) for name, value in said.sets.items()}
    _check_capitals(list(sets), where)
    rows = _varied(
        {_name(name, where): _row(name, value, where) for name, value in said.rows.items()}, said.vary, where
    )
    grid = Grid(
        name=Path(where).stem if said.name is None else said.name,
        sets=sets,
        noise=tuple(_noise(entry, where) for entry in said.noise or [0.0]),
        rows=rows,
        seeds=tuple(said.seeds or [0, 1, 2]),
        gold=tuple(_gold(entry, where) for entry in said.gold or [None]),
        config=said.config,
        options={
            name: fitting(value, dict[str, Any], f"{where}: options: {name}", _AGAIN)
            for name, value in said.options.items()
        },
        folds=said.folds,
        partial=said.partial,
        given=held,
    )
    if grid.folds is not None and None in grid.gold:
        raise InputError(
            f"{where}: folds deal all roles anew, gold among them: say how much, such as gold: [0.02]"
        )
    _check_count(
        math.prod(map(len, (grid.sets, grid.noise, grid.gold, grid.rows, grid.seeds))) * (grid.folds or 1),
        where,
    )
    _check_honest(grid, where)
    _check_unique([task.id for task in grid.tasks()], where)
    return grid


def _varied(rows: dict[str, Any], vary: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Return rows times the options that vary: each name then tells the values."""
    for option, values in vary.items():
        path = str(option).split(".")
        if not isinstance(values, list) or not values:
            raise InputError(f"{where}: vary {option} must be a list of values, got {shown(values)}")
        _check_count(len(rows) * len(values), where)
        more = {}
        for (name, row), value in product(rows.items(), values):
            if path[0] not in (*_SHARED, row["method"]):  # an option of a method concerns its rows alone
                more[name] = row
                continue
            change: Any = value
            for part in reversed(path):
                change = {part: change}
            longer = f"{name}, {path[-1]} {value}"
            _check_length(longer, f"{where}: vary {shortened(str(option), _LONGEST)}", "shorten its values")
            more[longer] = merged(row, change)
        if more == rows:
            raise InputError(f"{where}: vary {option} changes no row: no row has that method")
        rows = more
    return rows


def _row(name: object, value: object, where: str) -> dict[str, Any]:
    row = f"{where}: row '{shortened(str(name), _LONGEST)}'"
    _check_length(str(name), row, "shorten it")
    method = fitting(value, RowSaid, row, "a row has a method, and options under the method's name").method
    held: dict[str, Any] = fitting(value, dict[str, Any], row, _AGAIN)
    if method in held:
        fitting(held[method], dict[str, Any], f"{row}: {method}", _AGAIN)
    for key in held:
        if key == "training":
            raise InputError(
                f"{row} has training options of its own: rows are compared with the same budget, put "
                "them under options, or under vary"
            )
        if key not in ("method", "network", method):
            raise InputError(
                f"{row} has the key {shown(key)}: only method, {method} and network belong there"
            )
    return held


def _check_length(name: str, place: str, way_out: str) -> None:
    if len(name) > _LONGEST:  # files are called after it
        raise InputError(
            f"{place}: a row's name has at most {_LONGEST} characters, got {len(name)}: {way_out}"
        )


def _set(name: object, value: object, where: str) -> str:
    if isinstance(value, dict) and list(value) == ["prepare"] and isinstance(value["prepare"], str):
        try:
            shlex.split(value["prepare"])
        except ValueError as error:
            raise InputError(f"{where}: set '{name}': {error} in {shown(value['prepare'])}") from error
        return f"prepare {value['prepare']}"
    if isinstance(value, str):
        return value
    raise InputError(
        f"{where}: set '{name}' must be the path of a prepared set, or prepare: and the words of that command"
    )


def _name(name: object, where: str) -> str:
    if type(name) not in (str, int):  # how it was written is lost: 1.50, yes
        raise InputError(f"{where}: {shown(name)} is no name: put names into quotes")
    return str(name)


def _key(name: object, where: str) -> str:
    text = _name(name, where)
    if text != folder_name(text):
        raise InputError(f"{where}: '{text}' cannot name a set: use letters, digits, dots and dashes")
    if text.lower().endswith(_OWN):  # a benchmark writes NAME.yaml beside each set, and logs and locks below
        raise InputError(
            f"{where}: a set's name must not end in {', '.join(_OWN)}, got '{text}': give it another name"
        )
    return text


def _noise(entry: float | NoiseSaid, where: str) -> Noise:
    if isinstance(entry, float):
        return Noise(rate=entry)
    if not entry.model.replace("-", "").isalpha():
        raise InputError(
            f"{where}: a noise model is one of those of metadcseg corrupt --model, got {shown(entry.model)}"
        )
    return Noise(entry.model, entry.rate)


def _gold(entry: object, where: str) -> float | int | GoldSlices | None:
    number = isinstance(entry, int) and not isinstance(entry, bool) and entry >= 1
    if entry is None or number or (isinstance(entry, float) and 0 < entry < 1):
        return entry  # type: ignore[return-value]
    if (slices := GoldSlices.read(entry)) is not None:
        return slices
    raise InputError(
        f"{where}: gold is a list of shares below 1, numbers of cases or shares of slices such as slices:0.02, got "
        f"{shown(entry)}"
    )


def _check_capitals(sets: Sequence[str], where: str) -> None:
    """Refuse names that are one folder on disks which don't tell capitals."""
    seen: dict[str, str] = {}
    for name in sets:
        if (first := seen.setdefault(name.lower(), name)) != name:
            raise InputError(
                f"{where}: the sets '{first}' and '{name}' differ in capitals alone, which some disks do not "
                "tell apart: give one another name"
            )


def _check_count(runs: int, where: str) -> None:
    if runs > _MOST_RUNS:  # lists multiply, so that a short file can ask for more than any memory holds
        raise InputError(
            f"{where} asks for {runs} runs, at most {_MOST_RUNS} are allowed: split it into several grids"
        )


def _check_honest(grid: Grid, where: str) -> None:
    rows = [grid.options_of(row) for row in grid.rows]
    lacking = [name for name, honest in HONEST.items() if not any(is_honest(row, honest) for row in rows)]
    if lacking and not grid.partial:
        raise InputError(
            f"{where}: the rows {', '.join(lacking)} are missing, without which a table shows nothing: add them, or "
            "give the reason as partial: (the report tells it)"
        )


def _check_unique(ids: Sequence[str], where: str) -> None:
    twice = sorted(one for one, count in Counter(ids).items() if count > 1)
    if twice:
        raise InputError(
            f"{where}: two runs would be called {twice[0]}: give rows other names, and list nothing twice"
        )
