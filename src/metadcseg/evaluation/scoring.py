"""Predictions of what a prepared set holds, images and whole volumes, and their scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from metadcseg.constants import IGNORE
from metadcseg.data.loading.input_grid import Size
from metadcseg.data.store.reader import Case, PreparedSet, StoredVolume
from metadcseg.errors import InputError
from metadcseg.evaluation.inference import DEFAULT, InferenceOptions
from metadcseg.evaluation.overlays import Labels
from metadcseg.evaluation.predict import Predict, labels_of_stack, most_probable, probabilities_at_native
from metadcseg.metrics import CaseScore, Spacing, background_counts, score_labels


@dataclass(frozen=True)
class Compared:
    """What was predicted, and what it is compared with.

    Args:
        stack: every slice, (H, W, C); one of an image.
        labels: predicted, in an image's own size, or on the grid of a volume's file.
        reference: of the same shape.
        verified: whether the reference is beyond doubt, or is the label as given.
        spacing: in mm along each axis, where it is known.
    """

    stack: list[NDArray[Any]]
    labels: Labels
    reference: Labels
    verified: bool
    spacing: Spacing | None


def predict_unit(
    predict: Predict,
    prepared: PreparedSet,
    unit: Case | StoredVolume,
    grid: Size,
    options: InferenceOptions = DEFAULT,
) -> Compared:
    """Predict an image or a volume of a prepared set.

    Args:
        predict: the trained network.
        prepared: the set.
        unit: one of its cases that are plain images or slices by themselves, or of its volumes.
        grid: of the network.
        options: the same that ``predict`` was made with.

    Raises:
        InputError: where slices of a volume were dropped, or stored bytes are damaged.
    """
    if isinstance(unit, Case):
        image = prepared.image(unit)
        normalized = prepared.preprocessing is not None
        maps = probabilities_at_native(predict, image, grid[-1], normalized=normalized, options=options)
        return compare_unit(prepared, unit, most_probable(maps), [image])
    stack = images_of(prepared, unit)
    labels = labels_of_stack(predict, stack, grid, unit.placement, options)
    return compare_unit(prepared, unit, labels, stack)


def images_of(prepared: PreparedSet, unit: Case | StoredVolume) -> list[NDArray[Any]]:
    """Return the slices of a case, (H, W, C) each.

    Raises:
        InputError: where slices of a volume were dropped, or stored bytes are damaged.
    """
    if isinstance(unit, Case):
        return [prepared.image(unit)]
    cases, placement = prepared.slices_of(unit), unit.placement
    if len(cases) != placement.slices:
        raise InputError(
            f"volume '{unit.id}' holds {len(cases)} of its {placement.slices} slices and cannot be put "
            "together: choose another --split, or prepare the set with --empty keep"
        )
    return [prepared.image(case) for case in cases]


def compare_unit(
    prepared: PreparedSet, unit: Case | StoredVolume, labels: Labels, stack: list[NDArray[Any]]
) -> Compared:
    """Return labels beside the reference of a case: its truth, else its label as given.

    Args:
        prepared: the set.
        unit: one of its images or volumes.
        labels: predicted, in the image's own size, or on the grid of the volume's file.
        stack: the images that a picture is drawn over.
    """
    if isinstance(unit, Case):
        reference = prepared.truth(unit) if unit.has_truth else prepared.label(unit)
        return Compared(stack, labels, reference, unit.has_truth, unit.spacing)
    grid = unit.placement.grid
    return Compared(
        stack, labels, prepared.reference(unit), unit.verified, grid.steps() if grid.known else None
    )


def score_unit(
    unit: Case | StoredVolume, found: Compared, prepared: PreparedSet
) -> tuple[CaseScore, CaseScore | None]:
    """Return the scores of the classes, and of the set's regions where it has some."""
    kind = "truth" if found.verified else "label"
    classes = score_labels(found.labels, found.reference, prepared.classes, found.spacing)
    counts = background_counts(found.labels, found.reference)
    score = CaseScore(unit.row, unit.id, unit.group, kind, classes, counts)
    return score, score_regions(score, found.labels, found.reference, prepared.regions, found.spacing)


def score_regions(
    score: CaseScore,
    labels: Labels,
    reference: Labels,
    regions: Mapping[str, Sequence[int]] | None,
    spacing: Spacing | None,
) -> CaseScore | None:
    """Return the scores of a set's regions for a case, None where it has none.

    Args:
        score: of its classes.
        labels: predicted, of any shape.
        reference: of the same shape.
        regions: name -> members.
        spacing: in mm along each axis, where it is known.
    """
    if not regions:
        return None
    unions = {
        name: score_labels(_union(labels, members), _union(reference, members), ("background", name), spacing)
        for name, members in regions.items()
    }
    return replace(score, classes={name: found[name] for name, found in unions.items()})


def _union(labels: Labels, members: Sequence[int]) -> Labels:
    """Return 1 where a label is one of the members, 255 where it is unknown, else 0."""
    union: Labels = np.isin(labels, members).astype(np.uint8)
    union[labels == IGNORE] = IGNORE
    return union
