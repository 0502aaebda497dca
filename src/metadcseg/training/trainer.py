"""The training loop: epochs, steps, validation and checkpoints, for any method that keeps the contract."""

import time
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import fields, replace
from itertools import repeat
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn

from metadcseg.data.loading.batches import BatchLoader, loaders_lost
from metadcseg.errors import InputError
from metadcseg.methods.base import Method, MethodState
from metadcseg.tensors import IGNORE, Batch, GlobalBatchSize
from metadcseg.training.distributed.process_group import ProcessGroup
from metadcseg.training.logging.averages import MetricAverages, own_averages, plain
from metadcseg.training.logging.figures import SampleFigure, draw
from metadcseg.training.logging.logger import Logger
from metadcseg.training.logging.memory import forget_peak, peak_memory
from metadcseg.training.logging.progress import Reporter
from metadcseg.training.options import TrainingOptions
from metadcseg.training.pixel_store.pixel_maps import RunStorage, merge_states
from metadcseg.training.prediction import prediction_state
from metadcseg.training.randomness import derive_seed, seed_device
from metadcseg.training.run.checkpoints import save_checkpoint
from metadcseg.training.run.folder import RunFolder, write_run
from metadcseg.training.run.model_file import save_weights, weights_of
from metadcseg.training.run.opening import too_little
from metadcseg.training.run.state import Record, Scores, TrainerState
from metadcseg.training.setup import Datasets, load_learned
from metadcseg.training.stopping import StopRequest
from metadcseg.training.updater import SgdUpdater
from metadcseg.training.validation import Validator


class Trainer:
    """Runs a method from a trainer_state to the end, or until it is asked to stop.

    Everything that a later step depends on is in the state that checkpoints hold, so that a run that goes on
    from one computes what an uninterrupted run computes, bit for bit on a CPU.

    Where several devices share the batches, each runs this loop, and all take the same turns: every decision
    (to stop, to save) is made together. Only the first writes and has a logger.

    Args:
        method: how to learn; the loop never asks which one it is.
        state: of the method, with the network.
        updater: the one that the method was started with.
        storage: likewise.
        datasets: the cases the method may see.
        validator: scores the network.
        options: of the training.
        fabric: where and in which precision to compute.
        folder: where everything is written.
        info: what ``run.json`` says so far; the loop adds how far the run is.
        process_group: the devices that share every batch; by default this one alone.
    """

    def __init__(
        self,
        *,
        method: Method,
        state: MethodState,
        updater: SgdUpdater,
        storage: RunStorage,
        datasets: Datasets,
        validator: Validator,
        options: TrainingOptions,
        fabric: Fabric,
        folder: RunFolder,
        info: dict[str, Any],
        process_group: ProcessGroup | None = None,
    ) -> None:
        self.trainer_state = TrainerState()
        self.steps = datasets.steps(options.batch)
        self._method, self._state, self._updater, self._storage = method, state, updater, storage
        self._datasets, self._validator, self._options = datasets, validator, options
        self._fabric, self._folder, self._info = fabric, folder, info
        self._process_group = process_group or ProcessGroup()
        self._loaders = datasets.loaders(options, self._process_group.shard, fabric.device)
        self._averages = MetricAverages()
        self._sample_figure = SampleFigure(datasets.train.ids)
        self._saved = self._counted = time.monotonic()

    @property
    def kept_network(self) -> nn.Module:
        """The network that is validated and kept: the moving average, where there is one."""
        return self._updater.ema_model or self._state.network

    def closing_steps(self) -> float:
        """Return how many steps the validation at the end of an epoch is about worth, counted in forward passes."""
        options = self._options
        return len(self._validator) / options.batch / self._method.info.passes_each / options.validate_every

    def run(self, logger: Logger | None, reporter: Reporter, stop: StopRequest) -> bool:
        """Train up to the last epoch; return False where a stop was requested before, on any device.

        Raises:
            InputError: where the loss is no longer a finite number, the disk is full, or stored bytes are damaged.
        """
        if self._method.info.uses_edges and not self._datasets.train.has_edges:
            reporter.say(
                "edges are off: the set has none, so the boundary (eq. 8) follows from probabilities alone; "
                "prepare it again without --edges none to have them"
            )
        self._say_warmup(reporter)
        forget_peak(self._fabric.device)
        while self.trainer_state.epoch < self._options.epochs:
            if not (self._train_epoch(reporter, stop) and self._close_epoch(logger, reporter, stop)):
                self._save()
                self.write_info("interrupted")
                return False
            if self.trainer_state.epoch < self._options.epochs and self._process_group.any(stop.requested):
                self.write_info("interrupted")
                return False
        self._say_warmup(reporter)
        self.write_info("finished")
        return True

    def write_info(self, status: str) -> None:
        """Write ``run.json``, on the first device."""
        place = self.trainer_state
        self._info |= {
            "status": status,
            "epochs_done": place.epoch,
            "steps_per_epoch": self.steps,
            "best": place.best,
            "seconds": round(place.total_seconds, 3),
            "gpu_peak_bytes": place.gpu_peak_bytes,
        }
        if self._process_group.is_rank_zero:
            write_run(self._folder, self._info)

    def state_dict(self) -> dict[str, Any]:
        """Return all that this device needs to go on: tensors and plain values only."""
        return {
            "position": {
                field.name: getattr(self.trainer_state, field.name) for field in fields(TrainerState)
            },
            "network": dict(self._state.network.state_dict()),
            "updater": self._updater.state_dict(),
            "method": self._state.state_dict(),
            "storage": self._storage.state_dict(),
            "means": [self._averages.state_dict()],
            "pictures": self._sample_figure.state_dict(),
        }

    def global_state_dict(self) -> dict[str, Any] | None:
        """Return what all devices need to go on, however many they will be; None on all but the first.

        Network, updater, method and trainer_state are the same everywhere. The sums of the epoch's averages stay
        apart, so that as many devices as before go on to the very same numbers.
        """
        own = self.state_dict()
        if self._process_group.world_size == 1:
            return own
        states = self._process_group.gather({name: own[name] for name in ("storage", "means", "pictures")})
        if states is None:
            return None
        return {
            **own,
            "storage": merge_states([state["storage"] for state in states]),
            "means": [state["means"][0] for state in states],
            "pictures": self._sample_figure.merge([state["pictures"] for state in states]),
        }

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Restore what :meth:`global_state_dict` returned."""
        self.trainer_state = TrainerState.read(saved["position"])
        classes = self._datasets.train.classes
        load_learned(saved, self._state, self._updater, self._storage, classes)
        averages = own_averages(saved["means"], self._process_group.rank, self._process_group.world_size)
        self._averages.load_state_dict(averages, self._fabric.device)
        self._sample_figure.load_state_dict(saved["pictures"])

    def _say_warmup(self, reporter: Reporter) -> None:
        declared, name = self._method.info, self._method.name
        if too_little(self._info):  # which has been said: no epoch would be another
            return
        words = name, declared.warmup, self._options.epochs, declared.warmup_option
        if said := self.trainer_state.warmup_in_words(*words):
            reporter.say(said)

    def _train_epoch(self, reporter: Reporter, stop: StopRequest) -> bool:
        """Take the steps that are left of this epoch; return whether all were taken."""
        place = self.trainer_state
        self._updater.begin_epoch(place.epoch)
        with loaders_lost(), closing(self._batches()) as batches:
            for noisy, gold in batches:
                self._step(noisy, gold)
                reporter.step(place.epoch, place.step, self._averages)
                place.step += 1
                due = time.monotonic() - self._saved >= 60 * self._options.checkpoint_minutes
                answers = self._process_group.all_gather(stop.requested, due)
                if any(asked for asked, _ in answers):
                    return False
                if answers[0][1]:  # the first device has the clock
                    self._save()
        return True

    def _batches(self) -> Generator[tuple[Batch, Batch | None], None, None]:
        """Yield what is left of this epoch; gold is opened only for a method that declares it."""
        start, epoch = self.trainer_state.step, self.trainer_state.epoch
        with ExitStack() as stack:  # a batch may fail: the threads that make batches end here, not some day

            def opened(loader: BatchLoader) -> Iterator[Batch]:
                return stack.enter_context(closing(loader.epoch(epoch, start)))

            train, gold = opened(self._loaders[0]), self._loaders[1]
            verified_too = repeat(None, self.steps - start) if gold is None else opened(gold)
            for noisy, verified in zip(train, verified_too, strict=True):
                yield self._counted_together(noisy, verified)

    def _counted_together(self, noisy: Batch, gold: Batch | None) -> tuple[Batch, Batch | None]:
        """Tell each part of a batch how many valid pixels the whole has, before any of it goes to a device."""
        if self._process_group.world_size == 1:
            return noisy, gold
        parts = [noisy] if gold is None else [noisy, gold]
        counts = self._process_group.all_gather(*[float((part.labels != IGNORE).sum()) for part in parts])
        told = []
        for part, pixels in zip(parts, zip(*counts, strict=True), strict=True):
            mean = torch.tensor(max(sum(pixels), 1.0) / self._process_group.world_size)
            images = part.global_batch_size.images
            told.append(replace(part, shard_of=GlobalBatchSize(mean, images, self._process_group.world_size)))
        return told[0], None if gold is None else told[1]

    def _step(self, noisy: Batch, gold: Batch | None) -> None:
        place, device = self.trainer_state, self._fabric.device
        rank = (
            [self._process_group.rank] if self._process_group.rank else []
        )  # devices must not drop out alike
        seed_device(device, derive_seed(self._info["seed"], "step", place.epoch, place.step, *rank))
        with self._fabric.autocast():
            verified = None if gold is None else gold.to(device)
            report = self._method.step(self._state, noisy.to(device), verified)
        self._averages.add(report.scalars, place.step)
        if self._is_due(self._options.figure_every):
            self._sample_figure.watch(noisy, report)

    def _close_epoch(self, logger: Logger | None, reporter: Reporter, stop: StopRequest) -> bool:
        """Validate, keep the best weights, write all down; return False where a stop came before that."""
        self._check_finite()
        reporter.close(self.trainer_state.epoch)
        scores = None
        if len(self._validator) and self._is_due(self._options.validate_every):
            scores = self._validator.score(
                self._method, self.kept_network, lambda: self._process_group.any(stop.requested)
            )
            if scores is None:
                return False
        self._keep_weights(scores)
        if self._is_due(self._options.figure_every):
            self._draw_figure(logger)
        self._count_seconds()
        record = self._record(scores)
        self.trainer_state.close_epoch(record)
        self._averages = MetricAverages()
        self._sample_figure.clear()
        self._save()
        if logger is not None:
            logger.write(record)
        self.write_info("running")
        reporter.epoch(record, self.trainer_state.best_in_words())
        return True

    def _is_due(self, every: int) -> bool:
        done = self.trainer_state.epoch + 1
        return bool(every) and (done % every == 0 or done == self._options.epochs)

    def _keep_weights(self, scores: Scores | None) -> None:
        """Keep the best weights on validation; without validation cases the newest."""
        kept_from = self._method.info.kept_from
        if scores is not None and self.trainer_state.offer(scores, self.kept_network, kept_from):
            if self._process_group.is_rank_zero:
                self.trainer_state.write_best(self._folder.model)
        elif self._process_group.is_rank_zero and not len(self._validator):
            facts = {"epoch": str(self.trainer_state.epoch)}
            save_weights(self._folder.model, weights_of(self.kept_network), facts)

    def _draw_figure(self, logger: Logger | None) -> None:
        caught = self._process_group.gather(self._sample_figure.state_dict())
        if caught is None or logger is None:
            return
        self._sample_figure.load_state_dict(self._sample_figure.merge(caught))
        pictures = self._sample_figure.pictures()
        if not pictures:
            return
        images = torch.stack([picture.image for picture in pictures]).to(self._fabric.device)
        probabilities = self._method.predict(prediction_state(self.kept_network), images)
        done = self.trainer_state.epoch + 1
        title = f"{self._info['label']}, {done} of {self._options.epochs} epochs"
        logger.write_figure(done, *draw(pictures, probabilities, title))

    def _record(self, scores: Scores | None) -> Record:
        place = self.trainer_state
        return {
            "kind": "epoch",
            "epoch": place.epoch,
            "step": (place.epoch + 1) * self.steps,
            "lr": self._updater.lr,
            "seconds": round(place.seconds, 3),
            "train": plain(self._averages.read(self._process_group.mean)),
            "val": None if scores is None else {"dsc": scores.dsc, "iou": scores.iou, "cases": scores.cases},
        }

    def _count_seconds(self) -> None:
        now = time.monotonic()
        self.trainer_state.seconds += now - self._counted
        self._counted = now

    def _save(self) -> None:
        self._check_finite()
        self._count_seconds()
        self.trainer_state.note_memory(peak_memory(self._fabric.device))
        state = self.global_state_dict()
        if state is not None:
            save_checkpoint(self._folder.checkpoints, state)
        self._process_group.any(
            False
        )  # the checkpoint is whole before any device lets go of what an earlier one needs
        self._storage.saved()
        self._saved = time.monotonic()

    def _check_finite(self) -> None:
        """Stop before a good checkpoint is replaced by numbers that are none."""
        place, step, what = self.trainer_state, self._first_bad_step(), "the loss"
        if step is None:
            sound = torch.stack([p.detach().isfinite().all() for p in self._state.network.parameters()])
            if bool(sound.all()):
                return
            step, what = place.step - 1, "a weight of the network"
        raise InputError(
            f"training stopped in epoch {place.epoch + 1}, step {step + 1}: {what} is no longer a finite "
            f"number; try a lower training.lr (now {self._options.lr:g}) or a smaller training.clip with "
            f"another --out ({self._folder.checkpoints} keeps the last good state)"
        )

    def _first_bad_step(self) -> int | None:
        """Return the first step in which the loss of any device was not a finite number."""
        own = self._averages.first_bad_step()
        bad = [
            int(step) for (step,) in self._process_group.all_gather(-1 if own is None else own) if step >= 0
        ]
        return min(bad, default=None)
