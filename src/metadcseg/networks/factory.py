"""Networks by name, or the user's own by its import path."""

import importlib
import inspect
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from metadcseg.errors import InputError, shown, unknown_name
from metadcseg.networks.committee import Committee
from metadcseg.networks.contract import Activation, Norm, Size, Upsampling
from metadcseg.networks.registry import KINDS, OPTIONS
from metadcseg.networks.tap import TappedNetwork, find_head

NETWORKS = tuple(KINDS)


@dataclass(frozen=True)
class NetworkOptions:
    """Which network to train.

    Networks differ in their options; one that a network does not have is refused. What is left out (None) takes the
    network's own default.

    Args:
        name: a network that comes with the package, see ``docs/explanation/networks.md``.
        width: channels at full resolution; every level below has twice as many (U-Net++ in the paper: 64).
        size: ``published`` or ``small``, of a network whose size is not one width.
        norm: the normalization layer; ``group`` does not depend on the batch, which suits batches of 1 or 2.
        upsampling: ``learned`` (transposed convolutions) or ``bilinear``.
        activation: ``leaky_relu`` or ``relu``.
        spatial_dims: 2, or 3 for a network of whole volumes in place of their slices.
        pretrained: a file of your own with weights to begin with (.safetensors, or a .pth of tensors alone): those
            whose names and shapes fit are taken, and what was not is said.
        class_path: your own network in place of ``name``: ``package.module.Class``, importable (its folder in
            PYTHONPATH); it maps (N, C, H, W) images to (N, classes, H, W) logits.
        init_args: what your own class is created with (nothing is added: name channels and classes here).
        head: the name of your own network's last layer, whose input the boundary term takes as features (eq. 5); found
            where left out.

    Raises:
        InputError: for an unknown name or layer, a width below 1, or options that do not belong together.

    Example:
        >>> NetworkOptions(width=8).norm
        'group'
    """

    name: str = "unetplusplus"
    width: int | None = None
    size: Size | None = None
    norm: Norm | None = None
    upsampling: Upsampling | None = None
    activation: Activation | None = None
    spatial_dims: int = 2
    pretrained: str | None = None
    class_path: str | None = None
    init_args: dict[str, Any] = field(default_factory=dict)
    head: str | None = None

    def __post_init__(self) -> None:
        if self.name not in KINDS:
            raise unknown_name("network.name", self.name, NETWORKS)
        self._check_options()
        for option, allowed in _ALLOWED.items():
            if (got := getattr(self, option)) is not None and got not in get_args(allowed):
                raise unknown_name(f"network.{option}", got, get_args(allowed))
        if self.spatial_dims not in (2, 3):
            raise InputError(f"network.spatial_dims must be 2 or 3, got {self.spatial_dims}")
        if self.width is not None and not (type(self.width) is int and self.width >= 1):
            raise InputError(f"network.width must be a whole number from 1 on, got {shown(self.width)}")
        if self.class_path is None and (self.init_args or self.head):
            raise InputError(
                "network.init_args and network.head belong to a network of your own: name it in network.class_path"
            )

    @property
    def like_width(self) -> int:
        """The width of the U-Net++ that takes about as long: its own, or that of the size."""
        return self.width or {"small": 16, "published": 64}[self.size or "small"]

    def _check_options(self) -> None:
        """Refuse what the network does not have, and fill in what was left out."""
        kind = KINDS[self.name]
        for option in OPTIONS:
            if option in kind.options:
                if getattr(self, option) is None:
                    object.__setattr__(self, option, kind.options[option])
            elif (got := getattr(self, option)) is not None:
                raise InputError(
                    f"network.{option} {got}: {self.name} has no {option}, only {', '.join(kind.options)}; leave it "
                    f"out, or take it back with --network.{option} null where a --config sets it"
                )
        if self.spatial_dims == 3 and not kind.volumes:
            solid = [name for name, other in KINDS.items() if other.volumes]
            raise InputError(
                f"network.spatial_dims 3: {self.name} is a network of images; for volumes take {', '.join(solid)}"
            )


_ALLOWED = {"size": Size, "norm": Norm, "upsampling": Upsampling, "activation": Activation}


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
        InputError: where the user's class cannot be imported or created, or ``pretrained`` cannot be used.

    Example:
        >>> network = create_network(NetworkOptions(width=2), channels=1, classes=2)
        >>> tuple(network(torch.zeros(1, 1, 32, 32)).logits.shape)
        (1, 2, 32, 32)
    """
    network = _created(options, channels, classes, generator)
    if options.pretrained is not None:
        from metadcseg.networks.pretrained import load_pretrained  # a loop of one's own has no safetensors

        network.pretrained = load_pretrained(network.module, Path(options.pretrained), channels)
    return network


def _created(
    options: NetworkOptions, channels: int, classes: int, generator: torch.Generator | None
) -> TappedNetwork:
    seed = 0 if generator is None else int(torch.randint(2**62, (), generator=generator))
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would move the devices' states as well
        if options.class_path is not None:
            own = _create_own(options.class_path, options.init_args)
            head = find_head(own, classes) if options.head is None else options.head
            return TappedNetwork(own, head, classes=classes, axes=options.spatial_dims)
        return KINDS[options.name].create(channels, classes, vars(options))


def create_networks(
    options: NetworkOptions,
    channels: int,
    classes: int,
    count: int,
    generator: torch.Generator | None = None,
) -> TappedNetwork | Committee:
    """Return a freshly initialized network, or a committee of ``count``, each with initial weights of its own.

    Args:
        options: which network.
        channels: C of the images.
        classes: L, background included.
        count: how many (:attr:`metadcseg.methods.MethodInfo.networks`), at least 1.
        generator: where the initial weights come from; without one all members are alike.

    Raises:
        InputError: see :func:`create_network`; also where ``pretrained`` fills each of several networks as a whole.

    Example:
        >>> from metadcseg.networks.committee import members_of
        >>> len(members_of(create_networks(NetworkOptions(width=2), channels=1, classes=2, count=3)))
        3
    """
    first = create_network(options, channels, classes, generator)
    if count == 1:
        return first
    if first.pretrained is not None and first.pretrained["taken"] == first.pretrained["tensors"]:
        raise InputError(
            f"network.pretrained {options.pretrained} fills the whole network, so the {count} networks of this method "
            "would be equal and stay so: give an encoder's weights alone, or leave it out"
        )
    others = [create_network(options, channels, classes, generator) for _ in range(count - 1)]
    return Committee([first, *others])


def _create_own(class_path: str, init_args: dict[str, Any]) -> nn.Module:
    made = _import_own(class_path)
    _check_arguments(class_path, made, init_args)
    try:
        own = made(**init_args)
    except Exception as error:  # whatever the user's code raises
        if is_memory(error):
            raise
        raise InputError(
            f"network.init_args: {class_path} cannot be created with them: {said_by(error)}"
        ) from error
    if not any(parameter.requires_grad for parameter in own.parameters()):
        raise InputError(
            f"network.class_path {class_path} has no parameter to train: all are frozen, or none is there"
        )
    return own


def _import_own(class_path: str) -> type[nn.Module]:
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
    except Exception as error:  # whatever the user's code raises
        raise InputError(
            f"network.class_path {class_path}: {module_name} cannot be imported: {said_by(error)}"
        ) from error
    found = vars(module).get(name)  # getattr would run a __getattr__ of the module
    if found is None:
        known = [key for key, value in vars(module).items() if inspect.isclass(value) and key[0] != "_"]
        raise unknown_name(f"class of {module_name} in network.class_path", name, known)
    if not (inspect.isclass(found) and issubclass(found, nn.Module)):
        what = found.__name__ if inspect.isclass(found) else type(found).__name__
        raise InputError(f"network.class_path {class_path} must be a subclass of torch.nn.Module, got {what}")
    return found


def said_by(error: Exception) -> str:
    """Return what an exception of the user's code says, its kind and the line that it comes from.

    Example:
        >>> said_by(KeyError("a"))
        "KeyError: 'a'"
    """
    frames = traceback.extract_tb(error.__traceback__)
    file, line = (error.filename, error.lineno) if isinstance(error, SyntaxError) else (None, None)
    if file is None and len(frames) > 1:
        file, line = frames[-1].filename, frames[-1].lineno
    text = error.msg if isinstance(error, SyntaxError) else (str(error).splitlines() or [""])[0]
    place = "" if file is None else f" ({file}, line {line})"
    return f"{type(error).__name__}{f': {text}' if text else ''}{place}"


def is_memory(error: Exception) -> bool:
    """Return whether a computation ran out of memory, which is nobody's mistake in code."""
    return isinstance(error, MemoryError) or "memory" in str(error)


def _check_arguments(class_path: str, made: Any, init_args: dict[str, Any]) -> None:
    parameters = inspect.signature(made).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for name in init_args:
        if name not in parameters:
            raise unknown_name(f"argument of {class_path} in network.init_args", name, parameters)
