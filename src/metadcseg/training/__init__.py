"""The training loop, its options, checkpoints and records; it knows no method by name."""

from typing import TYPE_CHECKING, Any

from metadcseg.training.options import TrainingOptions
from metadcseg.training.prediction import prediction_state
from metadcseg.training.run.folder import RunFolder, TrainedRun, load_run, read_run

__all__ = [
    "RunFolder",
    "RunResult",
    "TrainedRun",
    "TrainingOptions",
    "load_run",
    "prediction_state",
    "read_run",
    "train",
]

if TYPE_CHECKING:
    from metadcseg.training.session import RunResult, train


def __getattr__(name: str) -> Any:
    """Import what trains only for whoever trains: it takes seconds that a prediction need not wait for."""
    if name not in ("RunResult", "train"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from metadcseg.training import session

    return getattr(session, name)
