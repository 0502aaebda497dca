"""What must fit together before the first step: method and set, devices, network, state."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from torch import nn

from metadcseg.data.loading.batches import BatchLoader, Shard
from metadcseg.data.loading.dataset import Labels, SegmentationDataset, View
from metadcseg.data.loading.outlines import OutlinesDataset
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError, quiet
from metadcseg.methods.base import Method, MethodInfo, MethodState
from metadcseg.methods.common import evaluating
from metadcseg.networks import Committee, NetworkOptions, TappedNetwork, create_networks
from metadcseg.networks.factory import is_memory, said_by
from metadcseg.training.distributed.process_group import ProcessGroup
from metadcseg.training.options import TrainingOptions
from metadcseg.training.pixel_store.pixel_maps import RunStorage
from metadcseg.training.randomness import derive_seed
from metadcseg.training.updater import SgdUpdater
from metadcseg.training.validation import Validator


@dataclass(frozen=True)
class Datasets:
    """The cases a method gets to see.

    Args:
        train: with the labels that the method declares.
        gold: verified cases, None for a method that declares none.
    """

    train: View
    gold: View | None

    def steps(self, batch: int) -> int:
        """Return the steps of one epoch; the last one may be smaller."""
        return ceil(len(self.train) / batch)

    def loaders(
        self, options: TrainingOptions, shard: Shard, device: torch.device
    ) -> tuple[BatchLoader, BatchLoader | None]:
        """Return what makes the training batches and, where there is gold, as many of gold in every epoch.

        Args:
            options: of the training.
            shard: which part of every batch is made here.
            device: where they are needed. A GPU that has whole batches also moves them.
        """
        gpu = device.type == "cuda"
        move_on = device if gpu and shard.world_size == 1 else None
        made = partial(BatchLoader, shard=shard, pin=gpu, move_on=move_on)
        train = made(self.train, batch=options.batch, workers=options.workers)
        if self.gold is None:
            return train, None
        steps, few = self.steps(options.batch), min(options.workers, 1)
        return train, made(self.gold, batch=options.gold_batch, steps=steps, workers=few)


def open_datasets(
    prepared: PreparedSet, method: Method, network: NetworkOptions, options: TrainingOptions, seed: int
) -> Datasets:
    """Return datasets of the roles that a method declares, and of no other: of volumes for networks of volumes.

    Raises:
        InputError: where the set lacks what the method needs.
    """
    declared = method.info
    _check_cases(prepared, method.name, declared)
    if network.spatial_dims == 2 and options.patch is not None:
        raise InputError(
            "training.patch is for networks of volumes: leave it out, or set network.spatial_dims 3"
        )
    if network.spatial_dims == 3 and options.channels_last:
        raise InputError("training.channels_last is for networks of images: leave it out")

    def view(role: str, labels: Labels, pairs: bool) -> View:
        moved, grid = options.augment, grid_of(network, options)
        shown = OutlinesDataset if options.outlines == "each" and labels == "given" else SegmentationDataset
        return shown(
            prepared, role, grid, options.patch, labels=labels, augment=moved, seed=seed, pairs=pairs
        )

    train = view("train", declared.labels, pairs=False)
    return Datasets(train, view("gold", "given", declared.uses_pairs) if reads_gold(declared) else None)


def check_network(method: Method, network: NetworkOptions, way_out: str = "add --network.name {}") -> None:
    """Ask whether a network of the package can be trained by a method; one of one's own is asked when training starts.

    Args:
        method: which.
        network: its options.
        way_out: what to do, with a place for the name of the network.

    Raises:
        InputError: where it cannot.
    """
    needed = method.info.network
    if needed is None or network.class_path is not None or network.name == needed:
        return
    what = f"method '{method.name}' trains the network {needed} alone, with its stages and auxiliary maps"
    if network.spatial_dims == 3:
        raise InputError(
            f"{what}, which is one of images, and network.spatial_dims is 3: choose another method for volumes, or "
            f"train on their slices with network.spatial_dims 2 and network.name {needed}"
        )
    raise InputError(f"{what}, got {network.name}: {way_out.format(needed)}")


def open_validator(
    prepared: PreparedSet,
    network: NetworkOptions,
    options: TrainingOptions,
    device: torch.device,
    process_group: ProcessGroup,
) -> Validator:
    """Return what scores the network on the validation cases: volumes for networks of volumes."""
    grid = grid_of(network, options)
    return Validator(prepared, grid, options.batch, device, process_group, options.patch)


def grid_of(network: NetworkOptions, options: TrainingOptions) -> tuple[int, ...]:
    """Return the input grid of a network: (S, S), or (Z, S, S) of one of volumes."""
    square = (options.size, options.size)
    return square if network.spatial_dims == 2 else (options.depth, *square)


def reads_gold(declared: MethodInfo) -> bool:
    """Return whether a method gets gold batches."""
    return declared.needs_gold or declared.supervises_gold


def open_fabric(options: TrainingOptions, process_group: ProcessGroup) -> Fabric:
    """Return Fabric for this process' own device, which is all that Fabric knows of.

    Raises:
        InputError: where this machine has no such device.
    """
    accelerator, devices = options.accelerator, [process_group.local_rank]
    if process_group.world_size > 1 and accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "cpu"
    one = devices if process_group.world_size > 1 and accelerator == "cuda" else 1
    half = options.precision == "bf16-mixed"
    try:
        with quiet("lightning_fabric.utilities.rank_zero"):  # the precision is said by `precision.settled`
            fabric = Fabric(
                accelerator=accelerator,
                devices=one,
                precision="bf16-mixed" if half else "32-true",
                plugins=LightningEnvironment(),
            )
    except (RuntimeError, ValueError, MisconfigurationException) as error:
        raise InputError(
            f"training.accelerator: {options.accelerator} is not to be had on this machine "
            f"({' '.join(str(error).split())}); use auto or cpu"
        ) from error
    if process_group.world_size > 1 and fabric.device.type == "cuda":
        torch.cuda.set_device(fabric.device)  # collectives and random states go by the current device
    return fabric


def build(
    datasets: Datasets,
    method: Method,
    network: NetworkOptions,
    options: TrainingOptions,
    fabric: Fabric,
    seed: int,
    storage: RunStorage,
    process_group: ProcessGroup,
) -> tuple[TappedNetwork | Committee, SgdUpdater, MethodState]:
    """Return network (or committee), updater and method state before the first step; all follow from the seed.

    Raises:
        InputError: where the method cannot train that network, a network of one's own cannot take the images, or the
            method mixes annotators in what it keeps of pixels.
    """
    check_network(method, network)
    initial = torch.Generator().manual_seed(derive_seed(seed, "network"))
    made = (
        create_networks(
            network, datasets.train.channels, datasets.train.classes, method.info.networks, initial
        )
        .to(fabric.device)
        .train()
    )
    if network.class_path is not None:
        check_own(made, network.class_path, datasets.train.channels, options.patch or datasets.train.grid)
    if options.channels_last:
        made = made.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    updater = SgdUpdater(made, options, fabric, process_group, len(datasets.gold) if datasets.gold else 0)
    if options.compile:  # after the updater has made its copy, which predicts a few times and stays plain
        made.compile_passes()
    generator = torch.Generator().manual_seed(derive_seed(seed, "method"))
    state = method.start(made, updater, generator, storage)
    if storage.names and isinstance(datasets.train, OutlinesDataset):
        raise InputError(
            f"method '{method.name}' keeps its {' and '.join(storage.names)} for every pixel, and training.outlines "
            "'each' shows another annotator's outline in each epoch, which mixes them: take 'fused', or --method "
            "calibrated"
        )
    return made, updater, state


def check_own(network: nn.Module, class_path: str, channels: int, size: Sequence[int]) -> None:
    """Ask by one image, before anything is written, whether a network of one's own can take images of a size.

    Args:
        network: on its device.
        class_path: of its class.
        channels: C of the images.
        size: of the images, or patches of volumes.

    Raises:
        InputError: where it cannot, or returns what is no answer of a network.
    """
    images = torch.zeros(1, channels, *size, device=next(network.parameters()).device)
    try:
        with evaluating(network) as still:
            still(images)
    except InputError:
        raise
    except Exception as error:  # whatever the user's code raises
        if is_memory(error):
            raise
        why = said_by(error)
        sides = "training.size" if len(size) == 2 else "training.size, training.depth or training.patch"
        raise InputError(
            f"the network {class_path} cannot take images of {' x '.join(map(str, size))} with {channels} "
            f"channel{'' if channels == 1 else 's'} ({why}): change {sides}, or network.init_args"
        ) from error


def load_learned(
    saved: Mapping[str, Any], state: MethodState, updater: SgdUpdater, storage: RunStorage, classes: int
) -> None:
    """Put all that a checkpoint holds of what was learned where :func:`build` has made room for it.

    Raises:
        KeyError, RuntimeError, TypeError, ValueError: where it is not of this network, method and number of classes.
    """
    state.network.load_state_dict(saved["network"])
    updater.load_state_dict(saved["updater"])
    state.load_state_dict(saved["method"], classes)
    storage.load_state_dict(saved["storage"])


def _check_cases(prepared: PreparedSet, name: str, declared: MethodInfo) -> None:
    if not prepared.select("train"):
        raise InputError(f"{prepared.path} has no train cases; prepare it again from a folder that has some")
    if reads_gold(declared) and not prepared.select("gold"):
        raise InputError(
            f"method '{name}' needs verified masks and {prepared.path} has no gold cases; name some (a "
            "folder gold/, or gold.txt) and prepare the set again, or choose options or a method without gold"
        )
    if declared.labels == "truth" and not all(case.has_truth for case in prepared.select("train")):
        raise InputError(
            f"method '{name}' with these options trains on reference masks, which {prepared.path} does not "
            "have; use a set with injected noise, or other options"
        )
