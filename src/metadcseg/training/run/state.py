"""How far a run is, and which weights it keeps."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct
from torch import Tensor, nn

from metadcseg.data.findings import plural
from metadcseg.results.schema import Best, Count, Seconds
from metadcseg.schemas import fitting
from metadcseg.training.run.model_file import Weights, save_weights, weights_of

Record = dict[str, Any]
"""One line of the logger."""


@dataclass(frozen=True)
class Scores:
    """Means over the validation cases.

    Args:
        dsc: mean over cases of the mean over foreground classes, 0 to 1.
        iou: likewise.
        cases: how many cases there were.
    """

    dsc: float
    iou: float
    cases: int


class RecordSaid(Struct):
    """What every line of the logger must say."""

    epoch: Count
    seconds: Seconds


_MOST = 2**53  # more than any training, and still an index


class PositionSaid(Struct, kw_only=True):
    """``position`` of a checkpoint."""

    epoch: Annotated[int, Meta(ge=0, le=_MOST)]
    step: Annotated[int, Meta(ge=0, le=_MOST)]
    seconds: Seconds
    records: list[RecordSaid]
    best: Best | None = None
    best_weights: dict[str, Tensor] | None = None
    gpu_peak_bytes: Count | None = None


@dataclass
class TrainerState:
    """How far a run is, beside network, updater and method.

    Args:
        epoch: the epoch now running, from 0.
        step: the next step of it.
        seconds: spent on the epoch now running.
        records: the logger's lines so far.
        best: epoch, DSC and IoU of the best validation so far; None before the first.
        best_weights: the weights that reached it, so that file and checkpoint cannot disagree after a kill.
        gpu_peak_bytes: the most memory that any part of the run has reserved on its GPU; None without one.
    """

    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    records: list[Record] = field(default_factory=list)
    best: Record | None = None
    best_weights: Weights | None = None
    gpu_peak_bytes: int | None = None

    @classmethod
    def read(cls, position: Mapping[str, Any]) -> "TrainerState":
        """Return what a checkpoint says, where it says what it must.

        Raises:
            InputError: naming the part that does not fit.
            TypeError: where a line holds what is no JSON; ValueError where a number of it is not finite.
        """
        fitting(position, PositionSaid, "its 'position'", "the checkpoint is damaged")
        json.dumps(position["records"], allow_nan=False)  # as the logger writes them
        return cls(**position)

    @property
    def total_seconds(self) -> float:
        """Seconds spent on all epochs so far."""
        return self.seconds + float(sum(record["seconds"] for record in self.records))

    def note_memory(self, reserved: int | None) -> None:
        """Remember what training takes of its GPU; of a run in parts the largest counts."""
        if reserved is not None:
            self.gpu_peak_bytes = max(reserved, self.gpu_peak_bytes or 0)

    def offer(self, scores: Scores, network: nn.Module, kept_from: int = 0) -> bool:
        """Keep the weights if they are the best so far, the earliest on ties; return whether they are.

        Args:
            scores: of the epoch now running.
            network: with its weights.
            kept_from: the first epoch that replaces any before it, see :class:`~metadcseg.methods.base.MethodInfo`.
        """
        best = self.best
        if best is not None and scores.dsc <= best["dsc"] and not best["epoch"] < kept_from <= self.epoch:
            return False
        self.best = {"epoch": self.epoch, "dsc": scores.dsc, "iou": scores.iou}
        self.best_weights = weights_of(network)
        return True

    def write_best(self, path: Path) -> None:
        """Write the weights that did best, where there are any yet."""
        if self.best is not None and self.best_weights is not None:
            facts = {"epoch": str(self.best["epoch"]), "val_dsc": repr(self.best["dsc"])}
            save_weights(path, self.best_weights, facts)

    def close_epoch(self, record: Record) -> None:
        """Add an epoch's line and go to the start of the next."""
        self.records.append(record)
        self.epoch, self.step, self.seconds = self.epoch + 1, 0, 0.0

    def best_in_words(self) -> str:
        """Return the best validation so far as a person wants to read it, empty before the first."""
        return "" if self.best is None else f"best {self.best['dsc']:.4f} in epoch {self.best['epoch'] + 1}"

    def warmup_in_words(self, name: str, warmup: int, epochs: int, option: str = "warmup") -> str | None:
        """Return a sentence where a warm-up is all that a model gets of a method, None where it is not.

        Args:
            name: of the method.
            warmup: its epochs.
            epochs: of the whole training.
            option: which of the method's options says how long the warm-up is.
        """
        if epochs <= warmup and self.epoch < epochs:
            return (
                f"{name} will not leave its warm-up: training has {plural(epochs, 'epoch')}, and it takes the first "
                f"{warmup}: shorten {name}.{option}, or train longer"
            )
        if epochs <= warmup or self.epoch < epochs or self.best is None or self.best["epoch"] >= warmup:
            return None
        return (
            f"the epoch that is kept, {self.best['epoch'] + 1}, lies in the warm-up of {name} ({name}.{option}, "
            f"{plural(warmup, 'epoch')}): validation was never better after it, so the model has learned without what "
            "the method adds"
        )
