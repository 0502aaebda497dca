"""Figure 4: test cases with everybody's outline, of images and of volumes; and what a report draws from many runs."""

from collections.abc import Sequence
from statistics import fmean

import numpy as np

from metadcseg.colors import GIVEN, PREDICTED, VERIFIED, LegendEntry
from metadcseg.constants import IGNORE
from metadcseg.data.formats.geometry import Volume
from metadcseg.data.formats.volumes import read_label_volume
from metadcseg.data.slicing.cut import cut_labels
from metadcseg.data.store.reader import PreparedSet, StoredVolume
from metadcseg.errors import InputError
from metadcseg.report.curves import Curve
from metadcseg.report.gallery import (
    Example,
    Picture,
    prediction_examples,
    rank_name,
    spread_ranks,
)
from metadcseg.report.part_tables import condition_key
from metadcseg.report.pictures import Labels, outlined
from metadcseg.report.plots import Plot, fold_plot, learning_plot
from metadcseg.report.sheets import Gallery
from metadcseg.results.records import RunRecord
from metadcseg.results.summary import BenchmarkRecord, Condition, TaskRecord

OUTLINES = (
    "Green: verified, orange: as given where nothing is verified, blue: predicted. Cases evenly spaced by their DSC "
    "under the row named, so that "
    "nobody chose."
)

_ROLES = (
    LegendEntry("verified", VERIFIED),
    LegendEntry("given, where none is verified", GIVEN),
    LegendEntry("predicted", PREDICTED),
)


def case_galleries(record: BenchmarkRecord, count: int, missing: list[str]) -> list[Gallery]:
    """Return figure 4 for every condition: a few test cases under every row, of the first seed."""
    galleries = []
    for condition in record.conditions():
        tasks = [task for row in record.rows for task in _first_seed(record, condition, row)]
        if not tasks:
            continue
        seed = min(task.seed for task in tasks)
        tasks = [task for task in tasks if task.seed == seed]
        base = record.baseline()
        ranked = sorted(tasks, key=lambda task: task.row != base)
        prepared = _open(tasks, missing)
        if prepared is None:
            continue
        runs = [task.runs[0] for task in tasks]
        examples = _examples(prepared, runs, ranked[0].runs[0], count, missing)
        if not examples:
            missing.append(f"{condition.name}: no scored test case whose pictures could be shown.")
            continue
        fold = ", fold 1" if tasks[0].folds else ""
        title = f"{condition.name}, seed {seed}{fold}"
        legend = OUTLINES.replace("the row named", f"'{ranked[0].row}'")
        galleries.append(
            Gallery("-".join(["cases", *condition_key(condition)]), title, examples, legend, _ROLES)
        )
    return galleries


def _first_seed(record: BenchmarkRecord, condition: Condition, row: str) -> list[TaskRecord]:
    return sorted(record.of(condition, row), key=lambda task: task.seed)[:1]


def _open(tasks: Sequence[TaskRecord], missing: list[str]) -> PreparedSet | None:
    for task in tasks:
        if task.prepared is not None and task.prepared.exists():
            try:
                return PreparedSet.open(task.prepared)
            except InputError as error:
                missing.append(f"{error}.")
                return None
    missing.append(
        f"{tasks[0].condition.name}: its set is not in the benchmark's folder, so no case is shown."
    )
    return None


def _examples(
    prepared: PreparedSet, runs: Sequence[RunRecord], first: RunRecord, count: int, missing: list[str]
) -> list[Example]:
    """Return examples ranked by one run, with the pictures of all in their order."""
    volumes = {volume.id: volume for volume in prepared.volumes if volume.role == "test"}
    if not volumes:
        order = [first, *(run for run in runs if run is not first)]
        back = [0, *(order.index(run) + 1 for run in runs)]
        return [
            Example(held.id, held.rank, [held.pictures[place] for place in back] if held.pictures else [])
            for held in prediction_examples(prepared, order, count, missing)
        ]
    ranked = sorted(
        (name for name in first.cases if name in volumes), key=lambda name: (first.cases[name].dsc, name)
    )
    return [
        _volume_example(prepared, volumes[ranked[place]], rank_name(place, len(ranked)), runs, missing)
        for place in spread_ranks(len(ranked), count)
    ]


def _volume_example(
    prepared: PreparedSet, volume: StoredVolume, rank: str, runs: Sequence[RunRecord], missing: list[str]
) -> Example:
    """Return the slice of a volume that shows most of the object, with everybody's outline."""
    try:
        reference = cut_labels(Volume(prepared.reference(volume), volume.placement.grid), volume.placement)
        shown = int(((reference > 0) & (reference != IGNORE)).sum(axis=(1, 2)).argmax())
        image = prepared.image(next(case for case in prepared.slices_of(volume) if case.slice == shown))
    except (InputError, StopIteration) as error:
        missing.append(f"{volume.id} cannot be shown: {error}.")
        return Example(volume.id, rank, [])
    image = np.asarray(image, np.float32)
    pictures = [Picture(outlined(image), f"test volume {volume.id}, slice {shown}: the image alone", "image")]
    known, tint = ("verified", VERIFIED) if volume.verified else ("given", GIVEN)
    for run in runs:
        score = run.cases.get(volume.id)
        note = "no score" if score is None else f"DSC {score.dsc:.2f}"
        link = ""
        if score is not None and score.prediction is not None:
            try:
                predicted: Labels = cut_labels(
                    Volume(read_label_volume(score.prediction).array, volume.placement.grid), volume.placement
                )
                link = outlined(image, [(reference[shown], tint), (predicted[shown], PREDICTED)])
            except (InputError, OSError) as error:
                missing.append(f"{error}.")
        alt = f"test volume {volume.id}: {known} outline, that of {run.name} in blue, {note}"
        pictures.append(Picture(link, alt, run.name, note))
    return Example(volume.id, f"{rank}; slice {shown} of {len(reference)}, DSC of the whole volume", pictures)


def learning_plots(record: BenchmarkRecord) -> list[Plot]:
    """Return validation DSC against epochs for every condition: one curve for each row, the mean over seeds."""
    plots = []
    for condition in record.conditions():
        curves, names = [], []
        for place, row in enumerate(record.rows):
            values = validation_curve(record.of(condition, row))
            if values:
                curves.append(Curve(place, list(values), list(values.values())))
                names.append(row)
        if curves:
            plots.append(
                learning_plot("-".join(["curves", *condition_key(condition)]), condition.name, curves, names)
            )
    return plots


def validation_curve(tasks: Sequence[TaskRecord]) -> dict[int, float]:
    """Return epoch -> mean DSC on validation cases, over seeds and folds."""
    held: dict[int, list[float]] = {}
    for line in (line for task in tasks for run in task.runs for line in run.epochs):
        if (value := (line.val or {}).get("dsc")) is not None:
            held.setdefault(line.epoch + 1, []).append(value)
    return {epoch: fmean(values) for epoch, values in sorted(held.items())}


def fold_plots(record: BenchmarkRecord) -> list[Plot]:
    """Return figure 5 for every condition with folds: the DSC of each fold, over all seeds."""
    plots = []
    for condition in record.conditions():
        rows = []
        for row in record.rows:
            runs = [run for task in record.of(condition, row) if task.folds for run in task.runs]
            values = [held[0] for run in runs if (held := run.spread("dsc")) is not None]
            rows += [(row, values)] if values else []
        if rows:
            plots.append(fold_plot("-".join(["folds", *condition_key(condition)]), condition.name, rows))
    return plots
