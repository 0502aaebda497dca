"""The training loop, its options, checkpoints and records; it knows no method by name."""

from metadcseg.training.options import TrainingOptions
from metadcseg.training.run import RunResult, train
from metadcseg.training.run_folder import RunFolder, TrainedRun, load_run, prediction_state, read_run

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
