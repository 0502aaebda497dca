"""Reading the features in front of a network's last layer (eq. 5) without leaving a hook behind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import has_torch_function

from metadcseg.errors import InputError, unknown_name
from metadcseg.networks.contract import Output, Taken

_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d, nn.ConvTranspose3d, nn.Linear)
_SIDES = {2: "H, W", 3: "Z, H, W"}


class TappedNetwork(nn.Module):
    """Any network that returns logits, made to return the features that enter its last layer as well.

    The hook that reads the features lives for one forward pass and goes also when that pass raises, so that
    the wrapped module stays as its author wrote it. Works inside :func:`torch.func.functional_call` and
    :func:`torch.func.jvp`.

    Args:
        module: maps (N, C, H, W) float images to logits (N, L, H, W), to a tuple or list that begins with them
            (deep supervision: put the final output first), or to a mapping that has them as ``logits`` or ``out``.
            Volumes are (N, C, Z, H, W). A module that returns :class:`Output` tells its features itself. A pair of
            logits and a mapping name -> tensor hands the mapping through as ``auxiliary``; all else is dropped.
        head: the name of the last layer inside ``module``, as :meth:`torch.nn.Module.named_modules` has it;
            see :func:`find_head`. Its input becomes the features, (N, D, h, w), or (N, h, w, D) in front of
            a :class:`torch.nn.Linear`; another resolution than the logits' is resampled bilinearly.
        classes: L, checked at every pass, or None for any number.
        multiple: every side of an image must be a multiple of this.
        smallest: and at least this.
        axes: 2, or 3 for networks of volumes.
        fit: images of any size are welcome: the edge is repeated below and on the right up to the next size that
            fits, and what the network says of these pixels is cut off.

    Raises:
        InputError: for a head that does not exist; in ``forward`` for an image size that
            does not fit, and for logits or features of another shape than described here.

    Example:
        >>> import torch
        >>> network = TappedNetwork(nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 2, 1)), "1")
        >>> output = network(torch.zeros(1, 1, 8, 8))
        >>> tuple(output.logits.shape), tuple(output.features.shape)
        ((1, 2, 8, 8), (1, 4, 8, 8))
    """

    def __init__(
        self,
        module: nn.Module,
        head: str,
        *,
        classes: int | None = None,
        multiple: int = 1,
        smallest: int = 1,
        axes: int = 2,
        fit: bool = False,
    ) -> None:
        super().__init__()
        names = [name for name, _ in module.named_modules() if name]
        if head not in names:
            raise unknown_name("network.head", head, names)
        self.module = module
        self.head = head
        self.classes = classes
        self.multiple = multiple
        self.smallest = smallest
        self.axes = axes
        self.fit = fit
        self.pretrained: Taken | None = None
        self._tapped: list[Tensor] = []  # holds tensors during a pass only
        self._compiled: Callable[[Tensor], tuple[Any, list[Tensor]]] | None = None

    def forward(self, images: Tensor) -> Output:
        """Return logits and features for (N, C, H, W) images."""
        size = images.shape[2:]
        if self.fit:
            images = _padded(images, self.axes, self.multiple, self.smallest)
        _check_grid(images, self)
        answer, tapped = self._run(images) if self._compiled is None else self._run_compiled(images)
        logits = self._logits(answer, images)
        if isinstance(answer, Output):
            features = self._fitted(answer.features, logits, "its Output must hold features")
        else:
            features = self._features(tapped, logits)
        output = Output(logits, features, _auxiliary(answer))
        return output if size == images.shape[2:] else _cropped(output, size)

    def least_side(self, axis: int) -> int:
        """Return the smallest length of an axis of images, from 0: H, W, or Z, H, W."""
        # of volumes the other sides keep the deepest maps above a voxel
        return self.multiple if self.axes == 3 and axis == 0 else self.smallest

    def bare_logits(self, images: Tensor) -> Tensor:
        """Return the logits alone of images whose sides fit: no feature is read and nothing is checked.

        For what translates a network into another form, and cannot follow hooks and checks.
        """
        logits: Tensor = _first(self.module(images))  # type: ignore[assignment]
        return logits

    def compile_passes(self) -> None:
        """Have torch.compile translate the module, which it does when a pass first needs it.

        The hook that reads the features then stays in the module, since a translated pass keeps what it found.
        Passes that carry tangents (the meta step's derivative) go on to run as written. Copies of this network
        that were made before are not touched.

        Raises:
            InputError: in ``forward``, where the module cannot be translated or this machine has no compiler.
        """
        self._head().register_forward_pre_hook(self._read, with_kwargs=True)
        self._compiled = torch.compile(self._through)  # batches differ in size: a second one makes it general

    def _head(self) -> nn.Module:
        return self.module.get_submodule(self.head)

    def _run(self, images: Tensor) -> tuple[Any, list[Tensor]]:
        hook = self._head().register_forward_pre_hook(self._read, with_kwargs=True)
        try:
            return self._through(images)
        finally:
            hook.remove()

    def _run_compiled(self, images: Tensor) -> tuple[Any, list[Tensor]]:
        if self._compiled is None or has_torch_function([*self.parameters(), images]):
            return self._through(images)  # duals are no tensors that a compiler knows
        refused = _compilers_complaint()
        try:
            return self._compiled(images)
        except refused as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"the network {_name(self.module)} cannot be compiled on this machine ({reason}): leave "
                "training.compile off"
            ) from error

    def _through(self, images: Tensor) -> tuple[Any, list[Tensor]]:
        """Return the module's answer, and what its head was last called with (nothing where it was not)."""
        self._tapped.clear()
        answer = self.module(images)
        tapped = self._tapped[-1:]
        self._tapped.clear()
        return answer, tapped

    def _read(self, _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        self._tapped.append(args[0] if args else next(iter(kwargs.values())))

    def _logits(self, answer: object, images: Tensor) -> Tensor:
        answer = _first(answer)
        if not isinstance(answer, Tensor):
            raise InputError(
                f"the network {_name(self.module)} must return a tensor of logits, a tuple or list that begins with "
                f"it, or a mapping that has it as 'logits' or 'out', got {_kind(answer)}"
            )
        count, _, *size = images.shape
        shape = tuple(answer.shape)
        fits = len(shape) == len(images.shape) and (shape[0], *shape[2:]) == (count, *size)
        if not fits or (self.classes is not None and shape[1] != self.classes):
            classes = "L" if self.classes is None else self.classes
            raise InputError(
                f"the network {_name(self.module)} must return logits (N, classes, {_SIDES[self.axes]}) = ({count}, "
                f"{classes}, {', '.join(map(str, size))}), got {shape}; change its number of classes or its padding"
            )
        return answer

    def _features(self, tapped: list[Tensor], logits: Tensor) -> Tensor:
        if not tapped:
            raise InputError(
                f"network.head '{self.head}' is never called by {_name(self.module)}: name the layer that "
                f"makes the logits"
            )
        features = tapped[-1]
        if isinstance(self._head(), nn.Linear):
            features = features.movedim(-1, 1)
        return self._fitted(features, logits, f"network.head '{self.head}' must receive features")

    def _fitted(self, features: Tensor, logits: Tensor, what: str) -> Tensor:
        """Return features at the logits' resolution."""
        if features.dim() != logits.dim() or len(features) != len(logits):
            raise InputError(
                f"{what} (N, D, {_SIDES[self.axes].lower()}), got {tuple(features.shape)}; name "
                f"another layer of {_name(self.module)}"
            )
        if features.shape[2:] != logits.shape[2:]:
            size = list(logits.shape[2:])
            mode = "bilinear" if self.axes == 2 else "trilinear"
            features = F.interpolate(features, size=size, mode=mode, align_corners=False)
        return features


def find_head(module: nn.Module, classes: int) -> str:
    """Return the name of a network's head: the last convolution or linear layer with ``classes`` outputs.

    Where none has ``classes`` outputs, it is the last convolution or linear layer of all. "Last" is the order
    in which the module's author assigned the layers.

    Raises:
        InputError: where there is no such layer.

    Example:
        >>> find_head(nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 1)), classes=3)
        '2'
    """
    return find_heads(module, classes)[-1]


def find_heads(module: nn.Module, classes: int) -> list[str]:
    """Return the names of all layers that may be a network's head, in order: :func:`find_head` takes the last.

    Raises:
        InputError: where there is no such layer.
    """
    layers: list[tuple[str, nn.Module]] = [
        (name, layer) for name, layer in module.named_modules() if isinstance(layer, _LAYERS) and name
    ]
    if not layers:
        raise InputError(
            f"the network {_name(module)} has no convolution or linear layer inside: name its last layer as "
            f"network.head"
        )
    return [name for name, layer in layers if _outputs(layer) == classes] or [name for name, _ in layers]


def _compilers_complaint() -> type[Exception]:
    """Return what torch.compile raises where it cannot translate; torch has no documented name for it."""
    try:
        from torch._dynamo.exc import TorchDynamoException  # takes seconds: only when used
    except ImportError:
        return RuntimeError
    return TorchDynamoException


def _outputs(layer: nn.Module) -> int:
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)  # type: ignore[arg-type]


def _first(answer: object) -> object:
    """Return what stands for the logits in a network's answer."""
    while True:
        if isinstance(answer, Mapping):
            key = next((key for key in ("logits", "out") if key in answer), None)
            if key is None:
                return answer
            answer = answer[key]
        elif isinstance(answer, tuple | list) and answer:
            answer = answer[0]
        else:
            return answer


def _auxiliary(answer: object) -> dict[str, Tensor]:
    """Return what a network hands through by name, nothing where it has no pair of logits and such a mapping."""
    if isinstance(answer, Output):
        return dict(answer.auxiliary)
    if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], Mapping)):
        return {}
    named = answer[1].items()
    whole = all(isinstance(name, str) and isinstance(value, Tensor) for name, value in named)
    return dict(named) if whole else {}


def _padded(images: Tensor, axes: int, multiple: int, smallest: int) -> Tensor:
    """Return images whose edges are repeated below and on the right until the network can take them."""
    if images.dim() != 2 + axes:
        return images
    missing = [max(-(-side // multiple) * multiple, smallest) - side for side in images.shape[2:]]
    if not any(missing):
        return images
    return F.pad(images, [part for lack in reversed(missing) for part in (0, lack)], mode="replicate")


def _cropped(output: Output, size: Sequence[int]) -> Output:
    """Return what was said of the image's own pixels; a coarser map keeps every cell that holds one of them."""
    whole = output.logits.shape[2:]

    def part(maps: Tensor) -> Tensor:
        if maps.dim() != 2 + len(size):
            return maps
        kept = (-(-side * own // all_) for side, own, all_ in zip(size, maps.shape[2:], whole, strict=True))
        for axis, side in enumerate(kept, start=2):
            maps = maps.narrow(axis, 0, side)
        return maps

    named = {name: part(maps) for name, maps in output.auxiliary.items()}
    return Output(part(output.logits), part(output.features), named)


def _kind(answer: object) -> str:
    kind = type(answer).__name__
    return f"{kind} with {', '.join(map(str, answer))}" if isinstance(answer, Mapping) else kind


def _name(module: nn.Module) -> str:
    return type(module).__qualname__


def _check_grid(images: Tensor, network: TappedNetwork) -> None:
    if images.dim() != 2 + network.axes:
        raise InputError(
            f"images must have the shape (N, C, {_SIDES[network.axes]}), got {tuple(images.shape)}"
        )
    multiple = network.multiple
    for axis, side in enumerate(images.shape[2:]):
        least = network.least_side(axis)
        if side % multiple or side < least:
            got = " x ".join(str(length) for length in images.shape[2:])
            raise InputError(
                f"the input grid must have sides that are multiples of {multiple} and at least "
                f"{least}, got {got}; {_nearest(side, multiple, least)}"
            )


def _nearest(side: int, multiple: int, smallest: int) -> str:
    below = side // multiple * multiple
    if below < smallest:
        return f"the nearest size is {smallest}"
    return f"the nearest sizes are {below} and {below + multiple}"
