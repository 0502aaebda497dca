"""Read what runs left behind; whatever is missing becomes a sentence, never a crash."""

import csv
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

from metadcseg.csv_files import from_csv_text
from metadcseg.errors import InputError
from metadcseg.reading import read_regular
from metadcseg.results.schema import Epoch, EvaluationSaid, LineSaid, RunSaid
from metadcseg.results.upgrade import upgraded
from metadcseg.schemas import decoded, read_plain

WHERE = ("threads", "workers", "devices", "nodes", "accelerator", "checkpoint_minutes", "figure_every")
"""Training options that change no result, or hardly."""

_LEFT_OUT = "it was left out"


@dataclass(frozen=True)
class CaseRecord:
    """One line of ``evaluation/SPLIT.csv``.

    Args:
        dsc: mean over the foreground classes.
        prediction: file of the predicted mask, or None where it was not kept.
        group: whom it is of, such as a patient; empty where that is not recorded.
    """

    dsc: float
    prediction: Path | None
    group: str = ""


@dataclass
class RunRecord:
    """What one run left behind.

    Args:
        folder: the run's folder.
        name: what the page calls it; unique among the runs compared.
        info: ``run.json`` in the words of today, empty where it cannot be read.
        epochs: the epoch lines of ``metrics.jsonl``.
        evaluation: ``evaluation/SPLIT.json``, empty where there is none.
        cases: case id -> its scores, in the order of the table.
        missing: one sentence for every piece that could not be read.
    """

    folder: Path
    name: str = ""
    info: dict[str, Any] = field(default_factory=dict)
    epochs: list[Epoch] = field(default_factory=list)
    evaluation: dict[str, Any] = field(default_factory=dict)
    cases: dict[str, CaseRecord] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)

    def spread(self, metric: str) -> tuple[float, float | None] | None:
        """Return the mean and the standard deviation of a metric over the test cases, None where unknown."""
        entry = mapping(mapping(self.evaluation, "summary"), metric)
        mean = number(entry.get("mean"))
        return None if mean is None else (mean, number(entry.get("sd")))

    @property
    def label(self) -> str:
        """What its training was called, else its method, else its folder; runs may share it, unlike ``name``."""
        return str(self.info.get("label") or self.info.get("method") or self.folder.name)

    @property
    def gold(self) -> str:
        """What the verified masks are used for, in a word each: none, or mixed, meta, pairs.

        ``mixed``: trained on; ``meta``: read, to weigh or correct other labels; ``pairs``: the masks that they replaced
        are read. Of another tool, what its user said.
        """
        declared = mapping(self.info, "declaration")
        if said := mapping(self.info, "external").get("gold"):
            return str(said)
        if not declared:
            return "not declared"
        mixed, read = bool(declared.get("supervises_gold")), bool(declared.get("needs_gold"))
        meta = read and (not mixed or declared.get("asks_gold") is True)
        used = {"mixed": mixed, "meta": meta, "pairs": bool(declared.get("uses_pairs"))}
        return ", ".join(word for word, holds in used.items() if holds) or "none"

    @property
    def pretrained(self) -> str:
        """With which weights its networks began, in words."""
        if told := mapping(self.info, "external"):
            return str(told.get("pretrained") or "not told")
        return "yes" if mapping(self.info, "pretrained") else "no"

    @property
    def pipeline(self) -> str:
        """What is known of a training by another tool, in words; nothing where the training is ours."""
        told = mapping(self.info, "external")
        if not told:
            return ""
        counted = {name: number(told.get(name)) for name in ("iterations", "images", "parameters", "minutes")}
        numbers = [f"{value:,.0f} {name}" for name, value in counted.items() if value is not None]
        weights = [f"pretrained: {told['pretrained']}"] if told.get("pretrained") else []
        return ", ".join(
            [f"another pipeline: {told.get('tool')}", *numbers, f"gold {told.get('gold')}", *weights]
        )

    @property
    def equal_gold_baseline(self) -> bool:
        """Whether this is plain supervision with the gold masks mixed in: what a method has to beat."""
        declared = mapping(self.info, "declaration")
        given = declared.get("labels", "given") == "given"
        return self.info.get("method") == "supervised" and bool(declared.get("supervises_gold")) and given


def read_runs(folders: Sequence[Path], split: str = "test") -> list[RunRecord]:
    """Read every run and its evaluation; each gets a name: its label, with seed or folder where labels collide."""
    runs = [_read_run(Path(folder), split) for folder in folders]
    labels = [run.label for run in runs]
    seeded = [
        f"{label}, seed {run.info.get('seed', '?')}" if labels.count(label) > 1 else label
        for label, run in zip(labels, runs, strict=True)
    ]
    for run, name in zip(runs, seeded, strict=True):
        run.name = f"{name} ({run.folder})" if seeded.count(name) > 1 else name
    return runs


def _read_run(folder: Path, split: str) -> RunRecord:
    run = RunRecord(folder)
    run.info = upgraded(read_object(folder / "run.json", run.missing, RunSaid))
    if not run.info.get("external"):  # another tool's learning curve is not read
        run.epochs = _read_epochs(folder / "metrics.jsonl", run.missing)
    run.evaluation = read_object(folder / "evaluation" / f"{split}.json", run.missing, EvaluationSaid)
    if run.evaluation:
        predictions = mapping(run.evaluation, "predictions")
        run.cases = _read_cases(folder / "evaluation" / f"{split}.csv", predictions, run.missing)
    return run


def read_object(
    file: Path, missing: list[str], kind: Any = dict[str, Any], *, optional: bool = False
) -> dict[str, Any]:
    """Return the object in a JSON file; empty, with a sentence, where there is none (unless it may be absent).

    Args:
        file: the file.
        missing: gets the sentence.
        kind: the schema that it must fit.
        optional: whether it may be absent.
    """
    if not os.path.exists(file):  # which a name that is too long is not, either
        missing += [] if optional else [f"{file} does not exist."]
        return {}
    try:
        return read_plain(file, kind, _LEFT_OUT)
    except InputError as error:
        missing.append(f"{error}.")
        return {}


def _read_epochs(file: Path, missing: list[str]) -> list[Epoch]:
    """Read the epoch lines; a resumed run may have written an epoch twice, the later line counts."""
    try:
        lines = read_regular(file).splitlines()
    except (OSError, InputError):
        missing.append(f"{file} cannot be read, so this run has no learning curve.")
        return []
    epochs: dict[int, Epoch] = {}
    damaged: list[str] = []
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            if decoded(line, LineSaid, f"line {place}", _LEFT_OUT).kind == "epoch":
                held: Epoch = decoded(line, Epoch, f"line {place}", _LEFT_OUT)
                epochs[held.epoch] = held
        except InputError as error:
            damaged.append(str(error))
    if damaged:
        more = f", and {len(damaged) - 1} more" if len(damaged) > 1 else ""
        missing.append(f"{file}, {damaged[0]}{more}.")
    return [epochs[number] for number in sorted(epochs)]


def _read_cases(file: Path, predictions: Mapping[str, Any], missing: list[str]) -> dict[str, CaseRecord]:
    """Read the table of cases; paths of masks are relative to the table's folder and must stay in it."""
    try:
        text = read_regular(file).decode("utf-8", "replace")
        rows = list(csv.DictReader(io.StringIO(text, newline="")))
    except (OSError, InputError, csv.Error):
        missing.append(f"{file} cannot be read, so this run has no scores case by case.")
        return {}
    cases: dict[str, CaseRecord] = {}
    damaged = 0
    home = file.parent.resolve()
    for row in rows:
        try:
            dsc = float(row["dsc"])
            if not isfinite(dsc):
                raise ValueError(dsc)
            id = from_csv_text(row["id"])
            name = str(predictions.get(id) or row.get("prediction") or "")
            path = (home / name).resolve() if name else None
            kept = path if path is not None and path.is_relative_to(home) else None
            group = from_csv_text(str(row.get("group") or ""))
            cases[id] = CaseRecord(dsc, kept, group)
        except (KeyError, TypeError, ValueError, OSError):
            damaged += 1
    if damaged:
        missing.append(f"{file}: lines without id and DSC were left out ({damaged}).")
    return cases


def mapping(values: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    """Return the object under a key, an empty one where there is none.

    Example:
        >>> mapping({"a": {"b": 1}}, "a"), mapping({"a": 3}, "a")
        ({'b': 1}, {})
    """
    value = values.get(key)
    return value if isinstance(value, Mapping) else {}


def same_content(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Tell whether two records speak of sets with equal content, edges excepted.

    Args:
        one: ``set`` of a ``run.json`` or of an evaluation.
        other: the same of another run. Equal fingerprints are equal content, whichever version counted it. Where
            either was written before sets had a ``content``, fingerprints alone decide.

    Example:
        >>> here, there = ({"fingerprint": name, "content": "c"} for name in "ab")
        >>> same_content(here, there), same_content(here, {"fingerprint": "b"})
        (True, False)
        >>> same_content(here, {"fingerprint": "a", "content": "counted otherwise"})
        True
    """
    if one.get("fingerprint") == other.get("fingerprint"):
        return True
    return bool(one.get("content")) and one["content"] == other.get("content")


def budget_of(info: Mapping[str, Any]) -> dict[str, Any]:
    """Return what runs must share to be compared: options of the network, and of the training but for ``WHERE``.

    Args:
        info: what ``run.json`` says.

    Example:
        >>> budget_of({"network": {"width": 8}, "training": {"epochs": 30, "threads": 1}, "seed": 0})
        {'network.width': 8, 'training.epochs': 30}
    """
    held = {f"network.{name}": value for name, value in mapping(info, "network").items()}
    trained = mapping(info, "training").items()
    return held | {f"training.{name}": value for name, value in trained if name not in WHERE}


def number(value: object) -> float | None:
    """Return a finite number as it stands, None for anything else.

    Example:
        >>> number(0.5), number("0.5"), number(float("nan"))
        (0.5, None, None)
    """
    try:
        return float(value) if isinstance(value, int | float) and isfinite(value) else None
    except OverflowError:
        return None  # a whole number beyond all floats


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a file, empty where there is none."""
    return read_object(file, [])
