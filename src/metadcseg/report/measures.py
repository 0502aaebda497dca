"""What a report knows of a run, in one place: scores, costs, and how well wrong pixels were told."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from metadcseg.report.tables import METRICS
from metadcseg.results.records import mapping, number
from metadcseg.results.summary import TaskRecord


@dataclass(frozen=True)
class Measure:
    """One number of a run.

    Args:
        name: as a column is headed.
        unit: of it; empty where it has none.
        digits: behind the point.
        read: returns it, None where the run does not say.
    """

    name: str
    unit: str
    digits: int
    read: Callable[[TaskRecord], float | None]


def _score(task: TaskRecord, metric: str) -> float | None:
    return task.score(metric)


def _auroc(task: TaskRecord, name: str) -> float | None:
    return number(mapping(task.weights, "auroc").get(name))


def _wrong_pixels(task: TaskRecord) -> float | None:
    return number(task.weights.get("wrong_pixels"))


def _parameters(task: TaskRecord) -> float | None:
    counted = number(task.cost.get("parameters")) or number(task.info.get("parameters"))
    return None if counted is None else counted / 1e6


def _flops(task: TaskRecord) -> float | None:
    once = number(task.cost.get("flops_per_image"))
    return None if once is None else once / 1e9


def _training_flops(task: TaskRecord) -> float | None:
    declared = mapping(task.info, "declaration")
    once, passes = _flops(task), number(declared.get("passes"))  # once: of all networks
    return None if once is None or passes is None else once * passes / (number(declared.get("networks")) or 1)


def _memory(task: TaskRecord) -> float | None:
    return task.memory


def _epoch(task: TaskRecord) -> float | None:
    return task.epoch_seconds()


def _training(task: TaskRecord) -> float | None:
    return task.training_seconds()


def _inference(task: TaskRecord) -> float | None:
    return number(task.cost.get("inference_ms_per_image"))


def _passes(task: TaskRecord) -> float | None:
    return number(mapping(task.info, "declaration").get("passes"))


def _gold_cases(task: TaskRecord) -> float | None:
    return number(mapping(mapping(task.info, "set"), "cases").get("gold")) or 0.0


SCORES = {
    metric: Measure(name, unit, digits, partial(_score, metric=metric))
    for metric, (name, unit, digits) in METRICS.items()
}
"""Of the test cases."""

COSTS = {
    "parameters": Measure("parameters", "M", 2, _parameters),
    "passes": Measure("passes of a step", "", 0, _passes),
    "flops": Measure("FLOPs of an image", "G", 2, _flops),
    "training_flops": Measure("FLOPs of training, an image", "G", 2, _training_flops),
    "memory": Measure("peak memory", "GB", 2, _memory),
    "epoch_seconds": Measure("an epoch", "s", 1, _epoch),
    "training_seconds": Measure("training", "s", 0, _training),
    "inference_ms": Measure("inference, an image", "ms", 1, _inference),
}
"""The columns of table 7, in their order."""

_OF_DETECTION = (
    "weight",
    "alpha",
    "beta - alpha",
    "disagreement",
    "both",
    "given foreground",
    "near the outline",
    "pair table",
)
"""As `metadcseg.evaluation.noise_detection.SCORES` names them."""

DETECTION = {
    f"auroc by {name}": Measure(f"by {name}", "AUROC", 3, partial(_auroc, name=name))
    for name in _OF_DETECTION
} | {"wrong_pixels": Measure("wrong pixels", "share", 3, _wrong_pixels)}
"""How well wrong training pixels were told, and how many there were."""

OTHERS = {
    "gold_cases": Measure("gold cases", "", 0, _gold_cases),
}

EFFICIENCY = "cost_efficiency"
"""Eq. 14: it takes two runs, so no run knows it."""

MEASURES = SCORES | COSTS | OTHERS | DETECTION


def cost_efficiency(gain: float, time: float, memory: float) -> float | None:
    """Return the cost efficiency of eq. 14: gained mIoU for what it costs more in time and memory.

    Args:
        gain: mIoU minus that of the smallest gold set, in percent points.
        time: of an epoch, divided by that with the smallest gold set.
        memory: likewise.

    Returns:
        The quotient; None where nothing was paid, where it means nothing (and would be infinite or negative).

    Example:
        >>> round(cost_efficiency(1.11, 3.2 / 2.8, 7.8 / 7.2), 2)
        4.66
    """
    paid = time * memory - 1
    return gain / paid if paid > 1e-9 else None
