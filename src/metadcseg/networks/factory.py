"""Networks by name, or the user's own by its import path."""

import importlib
import inspect
from dataclasses import dataclass, field
from typing import Any, get_args

import torch
from torch import nn

from metadcseg.errors import InputError, unknown_name
from metadcseg.imports import without_collector
from metadcseg.networks.contract import Activation, Norm, Upsampling
from metadcseg.networks.tap import TappedNetwork, find_head

NETWORKS = ("unetplusplus",)


@dataclass(frozen=True)
class NetworkOptions:
    """Which network to train.

    Args:
        name: a network that comes with the package: ``unetplusplus``.
        width: channels at full resolution; every level below has twice as many (the paper: 64).
        norm: the normalization layer; ``group`` does not depend on the batch, which suits batches of 1 or 2.
        upsampling: ``learned`` (transposed convolutions) or ``bilinear``.
        activation: ``leaky_relu`` or ``relu``.
        spatial_dims: 2, or 3 for a network of whole volumes in place of their slices.
        class_path: your own network in place of ``name``: ``package.module.Class``, importable (its folder in
            PYTHONPATH); it maps (N, C, H, W) images to (N, classes, H, W) logits.
        init_args: what your own class is created with (nothing is added: name channels and classes here).
        head: the name of your own network's last layer, whose input are the features of eq. 5; found where
            left out.

    Raises:
        InputError: for an unknown name or layer, a width below 1, or options that do not belong together.

    Example:
        >>> NetworkOptions(width=8).norm
        'group'
    """

    name: str = "unetplusplus"
    width: int = 16
    norm: Norm = "group"
    upsampling: Upsampling = "learned"
    activation: Activation = "leaky_relu"
    spatial_dims: int = 2
    class_path: str | None = None
    init_args: dict[str, Any] = field(default_factory=dict)
    head: str | None = None

    def __post_init__(self) -> None:
        if self.name not in NETWORKS:
            raise unknown_name("network.name", self.name, NETWORKS)
        for option, allowed in (("norm", Norm), ("upsampling", Upsampling), ("activation", Activation)):
            if getattr(self, option) not in get_args(allowed):
                raise unknown_name(f"network.{option}", getattr(self, option), get_args(allowed))
        if self.spatial_dims not in (2, 3):
            raise InputError(f"network.spatial_dims must be 2 or 3, got {self.spatial_dims}")
        if self.width < 1:
            raise InputError(f"network.width must be at least 1, got {self.width}")
        if self.class_path is None and (self.init_args or self.head):
            raise InputError(
                "network.init_args and network.head belong to a network of your own: name it in network.class_path"
            )


def create_network(
    options: NetworkOptions, channels: int, classes: int, generator: torch.Generator | None = None
) -> TappedNetwork:
    """Return a freshly initialized network, on the CPU and in training mode.

    The initial weights depend on the generator's state alone (one number is drawn from it; without a
    generator: on nothing), and no global random state moves. The same options give the same parameter names.

    Args:
        options: which network.
        channels: C of the images.
        classes: L, background included.
        generator: where the initial weights come from.

    Returns:
        A network that maps (N, C, H, W) float32 images to :class:`~metadcseg.networks.contract.Output`.

    Raises:
        InputError: where the user's class cannot be imported or created.

    Example:
        >>> network = create_network(NetworkOptions(width=2), channels=1, classes=2)
        >>> tuple(network(torch.zeros(1, 1, 32, 32)).logits.shape)
        (1, 2, 32, 32)
    """
    seed = 0 if generator is None else int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would move the devices' states as well
        if options.class_path is not None:
            own = _create_own(options.class_path, options.init_args)
            head = find_head(own, classes) if options.head is None else options.head
            return TappedNetwork(own, head, classes=classes, axes=options.spatial_dims)
        with without_collector():  # MONAI takes seconds: only when used
            from metadcseg.networks.unetplusplus import unetplusplus

        layers = options.norm, options.spatial_dims, options.upsampling, options.activation
        return unetplusplus(channels, classes, options.width, *layers)


def _create_own(class_path: str, init_args: dict[str, Any]) -> nn.Module:
    made = _import_own(class_path)
    _check_arguments(class_path, made, init_args)
    try:
        network = made(**init_args)
    except (TypeError, ValueError) as error:
        raise InputError(f"network.init_args: {class_path} cannot be created with them: {error}") from error
    if not isinstance(network, nn.Module):
        raise InputError(
            f"network.class_path {class_path} must make a torch.nn.Module, got {type(network).__name__}"
        )
    return network


def _import_own(class_path: str) -> Any:
    module_name, _, name = class_path.rpartition(".")
    if not module_name:
        raise InputError(f"network.class_path must look like package.module.Class, got '{class_path}'")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise InputError(
            f"network.class_path {class_path}: {module_name} cannot be imported ({error}); install it, or "
            f"start with its folder on the Python path (PYTHONPATH=FOLDER)"
        ) from error
    if not callable(getattr(module, name, None)):
        known = [key for key, value in vars(module).items() if inspect.isclass(value) and key[0] != "_"]
        raise unknown_name(f"class of {module_name} in network.class_path", name, known)
    return getattr(module, name)


def _check_arguments(class_path: str, made: Any, init_args: dict[str, Any]) -> None:
    parameters = inspect.signature(made).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in init_args:
        if name not in parameters:
            raise unknown_name(f"argument of {class_path} in network.init_args", name, parameters)
