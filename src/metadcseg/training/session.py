"""One training run, from its arguments to its folder."""

import json
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from metadcseg.data.findings import plural
from metadcseg.data.prepare.tiny import tiny_in_set
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.files import cannot_write, write_bytes
from metadcseg.forward_mode.random_state import kept_random_state
from metadcseg.methods.base import Method
from metadcseg.networks import NetworkOptions
from metadcseg.training.distributed.consistency import check_all_equal, check_shared
from metadcseg.training.distributed.launch import as_started, check_devices, open_process_group
from metadcseg.training.distributed.process_group import ProcessGroup
from metadcseg.training.expected_time import announce, seconds_per_pass
from metadcseg.training.logging.logger import Logger, has_tensorboard
from metadcseg.training.logging.progress import Reporter
from metadcseg.training.options import TrainingOptions
from metadcseg.training.pixel_store.pixel_maps import RunStorage
from metadcseg.training.precision import settled
from metadcseg.training.randomness import processor_threads
from metadcseg.training.run.checkpoints import fits_run, has_checkpoint, load_checkpoint
from metadcseg.training.run.folder import RunFolder, read_run, write_run
from metadcseg.training.run.identity import claimed, describe, earlier_versions, machine
from metadcseg.training.run.opening import opening, too_little
from metadcseg.training.run.state import TrainerState
from metadcseg.training.setup import build, open_datasets, open_fabric, open_validator
from metadcseg.training.stopping import StopRequest
from metadcseg.training.trainer import Trainer


@dataclass(frozen=True)
class RunResult:
    """How a training ended.

    Args:
        out: the run's folder.
        interrupted: it was asked to stop, and saved; with all epochs done where the last was at its end.
        epochs_done: whole epochs done in all.
        best_epoch: the epoch, from 0, whose weights were kept; None without validation.
        best_dsc: its mean DSC on the validation cases.
        seconds: spent in all, over every part of the run.
        is_rank_zero: whether this process has the first of its devices, the one that wrote the folder.
    """

    out: Path
    interrupted: bool
    epochs_done: int
    best_epoch: int | None
    best_dsc: float | None
    seconds: float
    is_rank_zero: bool = True


def train(
    prepared: PreparedSet,
    method: Method,
    network: NetworkOptions,
    options: TrainingOptions,
    out: Path,
    *,
    seed: int = 0,
    resume: bool = False,
    config: Mapping[str, Any] | None = None,
    console: Console | None = None,
    label: str | None = None,
    chosen: str | None = None,
    fitted: Sequence[str] = (),
) -> RunResult:
    """Train a network and leave everything about it in one folder.

    The folder then holds ``run.json`` (what was run, and how far it is), ``config.yaml``, ``metrics.jsonl``
    (one line per epoch), ``checkpoints/``, ``weights/`` (what the method keeps for every training pixel),
    ``model.safetensors`` (the network that did best on ``val``), ``figures/`` and ``tensorboard/``. Ctrl-C or
    SIGTERM finishes the step, saves, and returns; a second one stops at once. The role ``test`` is never read.

    Several devices need a process for each: under torchrun or SLURM this call joins the processes that they started.
    All of them make the same call, and rank 0 alone writes.

    Args:
        prepared: images and masks.
        method: how to learn from them.
        network: which network.
        options: how to train it.
        out: the run's folder: new, empty, or holding an earlier part of this run.
        seed: all randomness follows from it.
        resume: go on where an earlier part of this run stopped; on a new folder, start.
        config: the configuration to record in ``config.yaml``; by default, what the arguments say.
        console: where progress is shown; None shows nothing.
        label: what the run is called in tables and figures; by default the method's name.
        chosen: the options that were chosen rather than said, in words: shown with the expected time before a new
            run starts.
        fitted: the options of the method that were chosen to fit this set; runs on other sets may have other values.

    Returns:
        How it ended.

    Raises:
        InputError: where the set lacks what the method needs, the folder holds something else, a checkpoint
            is damaged, the disk is full, the loss is no longer a finite number, or a device is missing or lost.

    Example:
        >>> prepared, method = PreparedSet.open("my_noisy_set"), create_method("supervised")  # doctest: +SKIP
        >>> options = TrainingOptions(epochs=1, size=32, threads=1)  # doctest: +SKIP
        >>> train(prepared, method, NetworkOptions(width=2), options, Path("my_run")).epochs_done  # doctest: +SKIP
        1
    """
    folder = RunFolder(Path(out))
    earlier = read_run(folder.path).get("training") if resume and folder.info.exists() else None
    options, settling = settled(as_started(options), network, earlier)
    with ExitStack() as stack:
        process_group = stack.enter_context(open_process_group(options))
        check_devices(prepared, options)
        datasets = open_datasets(prepared, method, network, options, seed)
        info = describe(prepared, method, network, options, seed=seed, label=label or method.name)
        stack.enter_context(processor_threads(options.threads, options.devices))
        fabric = open_fabric(options, process_group)
        stack.enter_context(kept_random_state([fabric.device]))
        storage = RunStorage(
            folder.weights,
            len(datasets.train),
            datasets.train.grid,
            rank=process_group.rank,
            world=process_group.world_size,
        )
        begun = has_checkpoint(folder.checkpoints)  # then the weights are there, whatever became of the file
        own = replace(network, pretrained=None) if begun else network
        made, updater, state = build(datasets, method, own, options, fabric, seed, storage, process_group)
        info |= {"parameters": sum(p.numel() for p in made.parameters()), "machine": machine(fabric.device)}
        there = stack.enter_context(claimed(folder, info, resume)) if process_group.is_rank_zero else None
        process_group.join(fabric.device)
        check_shared(process_group, folder)
        there = process_group.broadcast(there)
        info |= earlier_versions(there, info)
        if fits := list(fitted) if there is None else there.get("fitted"):
            info["fitted"] = fits
        info["pretrained"] = made.pretrained or (there or {}).get("pretrained")
        validator = open_validator(prepared, network, options, fabric.device, process_group)
        console = console if process_group.is_rank_zero else None
        if console is not None and there is None:
            lines = [] if settling is None else [settling]
            if chosen is not None:
                cases, looked = len(datasets.train), len(validator)
                with console.status("timing a few steps ..."):
                    per_pass = seconds_per_pass(made, datasets.train.channels, network, options, fabric)
                passes = method.info.passes_each
                lines.append(
                    announce(chosen, per_pass, cases, looked, passes, options, info["machine"], network)
                )
            elif not options.patch:
                lines += [f"warning: {each.sentence}" for each in tiny_in_set(prepared, options.size)]
            for line in lines:
                console.print(line, highlight=False, markup=False, soft_wrap=True)
        trainer = Trainer(
            method=method,
            state=state,
            updater=updater,
            storage=storage,
            datasets=datasets,
            validator=validator,
            options=options,
            fabric=fabric,
            folder=folder,
            info=info,
            process_group=process_group,
        )
        return _Session(folder, info, trainer, options, console, process_group).go(there, config)


class _Session:
    """One sitting of a run: read the checkpoint, say what will happen, train, record how it ended."""

    def __init__(
        self,
        folder: RunFolder,
        info: dict[str, Any],
        trainer: Trainer,
        options: TrainingOptions,
        console: Console | None,
        process_group: ProcessGroup,
    ) -> None:
        self._process_group = process_group
        self._folder, self._info, self._trainer, self._options = folder, info, trainer, options
        self._console = console or Console(quiet=True)

    def go(self, there: Mapping[str, Any] | None, config: Mapping[str, Any] | None) -> RunResult:
        trainer = self._trainer
        saved = None if there is None else load_checkpoint(self._folder.checkpoints)
        if there is not None and saved is not None:
            with fits_run(self._folder.checkpoints):
                trainer.trainer_state = TrainerState.read(saved["position"])
            if there["status"] == "finished" and trainer.trainer_state.epoch >= self._options.epochs:
                return self._leave_as_it_is()
            with fits_run(self._folder.checkpoints):
                trainer.load_state_dict(saved)
        check_all_equal(self._process_group, self._info, trainer.state_dict())
        if self._process_group.is_rank_zero:
            self._begin(config)
        self._say(self._opening(there))
        if there is None and (warning := too_little(self._info)):
            self._say(warning)
        return self._result(interrupted=not self._train())

    def _begin(self, config: Mapping[str, Any] | None) -> None:
        self._trainer.write_info("running")
        plain = json.loads(json.dumps(dict(config or self._default_config())))
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)
        write_bytes(self._folder.config, text.encode())
        self._trainer.trainer_state.write_best(self._folder.model)

    def _leave_as_it_is(self) -> RunResult:
        """Say that there is nothing left to do, which needs none of the large files."""
        self._say(f"{self._folder.path} is finished: all {self._options.epochs} epochs are done")
        held, label = read_run(self._folder.path), self._info["label"]
        if held["label"] != label and self._process_group.is_rank_zero:
            write_run(self._folder, held | {"label": label})
            self._say(f"its label is {label} now, {held['label']} before")
        return self._result(interrupted=False)

    def _train(self) -> bool:
        """Run the trainer; return False where any device was asked to stop, be it too late to cut anything short."""
        place, steps = self._trainer.trainer_state, self._trainer.steps
        reporter = Reporter(
            self._console,
            epochs=self._options.epochs,
            steps=steps,
            done=place.epoch * steps + place.step,
            close=self._trainer.closing_steps(),
        )
        try:
            with ExitStack() as stack:
                stop = stack.enter_context(StopRequest())
                logger = None
                if self._process_group.is_rank_zero:
                    logger = stack.enter_context(Logger(self._folder, place.records))
                    if not has_tensorboard():
                        self._say(
                            "no curves for TensorBoard: it is not installed (pip install 'metadcseg[tensorboard]'); "
                            "metrics.jsonl has all numbers"
                        )
                stack.enter_context(reporter)
                finished = self._trainer.run(logger, reporter, stop)
        except InputError as error:
            self._record_failure(error)
            raise
        except OSError as error:
            self._record_failure(error)
            raise cannot_write(Path(error.filename or self._folder.path), error) from error
        except Exception as error:
            self._record_failure(error)
            raise
        if finished:
            self._say(self._closing())
        else:
            code = " --trust-code" if "trusted_code" in self._info else ""
            self._say(
                f"stopped and saved in epoch {self._trainer.trainer_state.epoch + 1}: metadcseg train --resume "
                f"{self._folder.path}{code} goes on from here"
            )
        return finished and not self._process_group.any(stop.requested)

    def _record_failure(self, error: Exception) -> None:
        """Say in ``run.json`` why the run stopped; a disk that is full has no room for that, and so be it."""
        if not self._process_group.is_rank_zero:
            return
        try:
            write_run(self._folder, {**self._info, "status": "failed", "reason": str(error)})
        except InputError:
            return

    def _opening(self, there: Mapping[str, Any] | None) -> str:
        place, where = self._trainer.trainer_state, ""
        if there is not None:
            grown = self._grown(there["training"]["epochs"])
            where = f"; going on after epoch {place.epoch} and {plural(place.step, 'step')}{grown}"
        return opening(self._info, self._process_group.world_size, where)

    def _grown(self, before: int) -> str:
        """Say where a longer run cannot be what it would have been, planned so from its start."""
        if before >= min(self._options.warmup, self._options.epochs):
            return ""
        planned = self._options.epochs
        return (
            f"; its warm-up had been cut to {plural(before, 'epoch')}, unlike in a run planned for {planned}"
        )

    def _closing(self) -> str:
        best = self._trainer.trainer_state.best
        kept = (
            "the last weights"
            if best is None
            else f"epoch {best['epoch'] + 1}, validation DSC {best['dsc']:.4f}"
        )
        return (
            f"trained {plural(self._options.epochs, 'epoch')} in {self._info['seconds']:.0f} s; kept: {kept}"
        )

    def _default_config(self) -> dict[str, Any]:
        info = self._info
        return {
            "method": info["method"],
            info["method"]: info["options"],
            "network": info["network"],
            "training": info["training"],
        }

    def _result(self, interrupted: bool) -> RunResult:
        place, best = self._trainer.trainer_state, self._trainer.trainer_state.best or {}
        return RunResult(
            self._folder.path,
            interrupted,
            place.epoch,
            best.get("epoch"),
            best.get("dsc"),
            place.total_seconds,
            self._process_group.is_rank_zero,
        )

    def _say(self, line: str) -> None:
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)
