"""The state of a method as a run left it, for whoever wants to ask it something."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from metadcseg.data.store.content import identity_of
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.forward_mode.random_state import kept_random_state
from metadcseg.methods.base import Method, MethodState
from metadcseg.networks import NetworkOptions
from metadcseg.results.records import same_content
from metadcseg.training.distributed.process_group import ProcessGroup
from metadcseg.training.options import TrainingOptions
from metadcseg.training.pixel_store.pixel_maps import RunStorage
from metadcseg.training.run.checkpoints import fits_run, load_checkpoint
from metadcseg.training.run.folder import RunFolder, read_run
from metadcseg.training.run.state import TrainerState
from metadcseg.training.setup import build, load_learned, open_datasets, open_fabric


@contextmanager
def restore_state(
    run: Path, prepared: PreparedSet, method: Method, network: NetworkOptions, options: TrainingOptions
) -> Iterator[MethodState]:
    """Yield the state of a method at the last checkpoint of a run, on the CPU.

    Args:
        run: its folder.
        prepared: the set that it was trained on.
        method: as it was trained.
        network: likewise.
        options: likewise, but for augmentation and devices.

    Raises:
        InputError: where there is no checkpoint, or it is damaged.
    """
    folder, process_group = RunFolder(run), ProcessGroup()
    saved = load_checkpoint(folder.checkpoints)
    if saved is None:
        raise InputError(f"{run} has no checkpoint: train it first")
    told = read_run(run)
    if not same_content(told["set"], identity_of(prepared)):
        raise InputError(
            f"{prepared.path} is not the set that {run} was trained on ({told['set']['path']}): give that"
        )
    datasets = open_datasets(prepared, method, network, options, told["seed"])
    fabric = open_fabric(options, process_group)
    with kept_random_state([fabric.device]):
        kept = RunStorage(folder.weights, len(datasets.train), datasets.train.grid)
        own = replace(network, pretrained=None)  # the checkpoint has its own weights
        _, updater, state = build(datasets, method, own, options, fabric, told["seed"], kept, process_group)
        with fits_run(folder.checkpoints):
            load_learned(saved, state, updater, kept, datasets.train.classes)
            updater.begin_epoch(TrainerState.read(saved["position"]).epoch)
        yield state
