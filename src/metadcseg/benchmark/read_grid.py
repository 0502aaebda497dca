"""Read a grid from a file of plain values, and say what is wrong with it before anything runs."""

import json
import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

from metadcseg.data.splits.gold_slices import GoldSlices
from metadcseg.errors import InputError, shortened, unknown_name
from metadcseg.results.grid import HONEST, MOST_FOLDS, Grid, Noise, folder_name, is_honest, merged
from metadcseg.yaml_file import read_yaml

_KEYS = {
    "name": str,
    "sets": dict,
    "noise": list,
    "gold": list,
    "folds": int,
    "rows": dict,
    "vary": dict,
    "seeds": list,
    "config": str,
    "options": dict,
    "partial": str,
    "about": str,
    "next": list,
}
_SHARED = ("network", "training")
_LONGEST = 80
_MOST_RUNS = 100_000


def read_grid(file: Path) -> Grid:
    """Read a grid.

    Raises:
        InputError: naming the file and the key, where something is missing, unknown or not allowed.
    """
    held = read_yaml(file, str(file))
    if not isinstance(held, dict):
        raise InputError(f"{file} must hold the keys {', '.join(_KEYS)}")
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
    for key, value in held.items():
        if key not in _KEYS:
            raise unknown_name(f"key in {where}", str(key), _KEYS)
        if not isinstance(value, _KEYS[key]):
            raise InputError(f"{where}: {key} must be a {_words(_KEYS[key])}, got {shortened(repr(value))}")
    for part, value in (held.get("options") or {}).items():
        if not isinstance(value, dict):
            raise InputError(f"{where}: options: {part} must hold options, got {shortened(repr(value))}")
    if not all(isinstance(line, str) for line in held.get("next") or []):
        raise InputError(f"{where}: next must be a list of texts, got {shortened(repr(held['next']))}")
    for key in ("sets", "rows"):
        if not held.get(key):
            raise InputError(f"{where}: {key} is missing: a grid needs sets and rows at least")
    sets = {_key(name, where): _set(name, value, where) for name, value in held["sets"].items()}
    rows = _varied({str(name): _row(name, value, where) for name, value in held["rows"].items()}, held, where)
    grid = Grid(
        name=held.get("name", Path(where).stem),
        sets=sets,
        noise=tuple(_noise(entry, where) for entry in held.get("noise") or [0]),
        rows=rows,
        seeds=tuple(_seed(seed, where) for seed in held.get("seeds") or [0, 1, 2]),
        gold=tuple(_gold(entry, where) for entry in held.get("gold") or [None]),
        config=held.get("config", "small"),
        options=held.get("options") or {},
        folds=held.get("folds"),
        partial=held.get("partial"),
        given=held,
    )
    if grid.folds is not None and not 2 <= grid.folds <= MOST_FOLDS:
        raise InputError(f"{where}: folds must be from 2 to {MOST_FOLDS}, got {grid.folds}")
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


def _varied(rows: dict[str, Any], held: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return rows times the options that vary: each name then tells the values."""
    for option, values in (held.get("vary") or {}).items():
        path = str(option).split(".")
        if not isinstance(values, list) or not values:
            raise InputError(
                f"{where}: vary {option} must be a list of values, got {shortened(repr(values))}"
            )
        _check_count(len(rows) * len(values), where)
        more = {}
        for (name, row), value in product(rows.items(), values):
            if path[0] not in (*_SHARED, row["method"]):  # an option of a method concerns its rows alone
                more[name] = row
                continue
            change: Any = value
            for part in reversed(path):
                change = {part: change}
            more[f"{name}, {path[-1]} {value}"] = merged(row, change)
        if more == rows:
            raise InputError(f"{where}: vary {option} changes no row: no row has that method")
        rows = more
    return rows


def _row(name: object, value: object, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not isinstance(value.get("method"), str):
        raise InputError(f"{where}: row '{name}' must have a method, and options under the method's name")
    method = value["method"]
    if len(str(name)) > _LONGEST:
        raise InputError(f"{where}: a row's name has at most {_LONGEST} characters, got '{name}'")
    if not isinstance(value.get(method, {}), dict):
        raise InputError(
            f"{where}: row '{name}': {method} must hold options, got {shortened(repr(value[method]))}"
        )
    if not isinstance(value.get("network", {}), dict):
        raise InputError(
            f"{where}: row '{name}': network must hold options, got {shortened(repr(value['network']))}"
        )
    for key in value:
        if key == "training":
            raise InputError(
                f"{where}: row '{name}' has training options of its own: rows are compared with the same budget, put "
                "them under options, or under vary"
            )
        if key not in ("method", "network", method):
            raise InputError(
                f"{where}: row '{name}' has the key '{key}': only method, {method} and network belong there"
            )
    return dict(value)


def _set(name: object, value: object, where: str) -> str:
    if isinstance(value, dict) and list(value) == ["prepare"] and isinstance(value["prepare"], str):
        try:
            shlex.split(value["prepare"])
        except ValueError as error:
            raise InputError(
                f"{where}: set '{name}': {error} in {shortened(repr(value['prepare']))}"
            ) from error
        return f"prepare {value['prepare']}"
    if isinstance(value, str):
        return value
    raise InputError(
        f"{where}: set '{name}' must be the path of a prepared set, or prepare: and the words of that command"
    )


def _key(name: object, where: str) -> str:
    text = str(name)
    if text != folder_name(text):
        raise InputError(f"{where}: '{text}' cannot name a set: use letters, digits, dots and dashes")
    return text


def _noise(entry: object, where: str) -> Noise:
    if isinstance(entry, (int, float)):
        entry = {"rate": entry}
    if not isinstance(entry, dict) or set(entry) - {"model", "rate"} or "rate" not in entry:
        raise InputError(
            f"{where}: noise is a list of rates, or of model and rate, got {shortened(repr(entry))}"
        )
    rate = entry["rate"]
    if not isinstance(rate, (int, float)) or isinstance(rate, bool) or not 0 <= rate < 1:
        raise InputError(f"{where}: a noise rate is at least 0 and below 1, got {shortened(repr(rate))}")
    model = str(entry.get("model", "paper"))
    if not model.replace("-", "").isalpha():
        raise InputError(
            f"{where}: a noise model is one of those of metadcseg corrupt --model, got {shortened(repr(model))}"
        )
    return Noise(model, float(rate))


def _gold(entry: object, where: str) -> float | int | GoldSlices | None:
    number = isinstance(entry, int) and not isinstance(entry, bool) and entry >= 1
    if entry is None or number or (isinstance(entry, float) and 0 < entry < 1):
        return entry  # type: ignore[return-value]
    if (slices := GoldSlices.read(entry)) is not None:
        return slices
    raise InputError(
        f"{where}: gold is a list of shares below 1, numbers of cases or shares of slices such as slices:0.02, got "
        f"{shortened(repr(entry))}"
    )


def _seed(seed: object, where: str) -> int:
    if isinstance(seed, int) and not isinstance(seed, bool) and 0 <= seed < 2**63:
        return seed
    raise InputError(f"{where}: seeds are whole numbers from 0 on, got {shortened(repr(seed))}")


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


def _words(kind: type) -> str:
    return {dict: "table of keys and values", list: "list", str: "text", int: "whole number"}[kind]
