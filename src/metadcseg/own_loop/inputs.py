"""What a stranger's tensors must be before they are a batch."""

from torch import Tensor, float64, int64, nn

from metadcseg.errors import InputError
from metadcseg.networks.committee import Committee
from metadcseg.networks.tap import TappedNetwork
from metadcseg.tensors import IGNORE, Batch, check_shape
from metadcseg.warp import Warp


def checked_batch(
    images: Tensor,
    labels: Tensor,
    indices: Tensor,
    count: int,
    classes: int,
    network: TappedNetwork | Committee,
    warp: Warp | None = None,
    edges: Tensor | None = None,
    label_confidence: Tensor | None = None,
    given: Tensor | None = None,
) -> Batch:
    """Return a batch whose shapes, dtypes and ranges are as :class:`metadcseg.tensors.Batch` describes them.

    Values on a GPU are not looked at, since the step would have to wait for them.

    Args:
        images: (N, C, H, W) float.
        labels: (N, H, W) int64.
        indices: (N,) int64.
        count: of the images in all: indices must be below it.
        classes: likewise, of labels.
        network: that takes the images, or volumes.
        warp: None where nothing was moved.
        edges: (N, H, W) float32 from 0 to 1, or None.
        label_confidence: likewise.
        given: (N, H, W) int64 like ``labels``, the masks that they replaced, or None.

    Raises:
        InputError: naming the tensor, what it must be and what it is.
    """
    held = {"images": images, "labels": labels, "indices": indices}
    for name, tensor in (held if given is None else {**held, "given": given}).items():
        if not isinstance(tensor, Tensor):
            raise InputError(f"{name} must be a torch.Tensor, got {type(tensor).__name__}")
    check_shape("images", images, (None,) * (2 + network.axes))
    if not len(images):
        raise InputError("images must be at least one, got none")
    check_floats(images, network)
    if warp is not None and not isinstance(warp, Warp):
        raise InputError(
            f"warp must be a metadcseg.Warp, got {type(warp).__name__}: Warp(matrices), or Warp.identity(N)"
        )
    if indices.dtype != int64:
        raise InputError(f"indices must be int64, each image's own number, got {indices.dtype}")
    warp = Warp.identity(len(images), network.axes) if warp is None else warp
    batch = Batch(images, labels, indices.cpu(), warp, edges, label_confidence, given=given)
    least, most = int(batch.indices.min()), int(batch.indices.max())
    if least < 0 or most >= count:
        raise InputError(
            f"indices must be from 0 to {count - 1}, the numbers of the {count} images that attach was told, got "
            f"{least} to {most}"
        )
    for name, masks in {"labels": labels, "given": given}.items():
        if masks is not None and masks.device.type == "cpu":
            _check_values(name, masks[masks != IGNORE], classes - 1, f", or {IGNORE} where unknown")
    for name, values in {"edges": edges, "label_confidence": label_confidence}.items():
        if values is not None and values.device.type == "cpu":
            _check_values(name, values, 1)
    return batch


def check_floats(images: Tensor, network: nn.Module) -> None:
    """Refuse images that are no floats, or float64 for a network of less.

    Raises:
        InputError: naming what they are.
    """
    if not isinstance(images, Tensor):
        raise InputError(f"images must be a torch.Tensor, got {type(images).__name__}")
    if not images.is_floating_point():
        raise InputError(f"images must be float and normalized, got {images.dtype}: convert them before")
    own = next((p.dtype for p in network.parameters() if p.is_floating_point()), None)
    if images.dtype == float64 and own not in (None, float64):
        raise InputError(f"images are torch.float64 and the network {own}: convert them, images.float()")


def _check_values(name: str, values: Tensor, most: int, also: str = "") -> None:
    if values.numel() and not 0 <= values.min() <= values.max() <= most:
        raise InputError(
            f"{name} must be from 0 to {most}{also}, got {values.min().item():g} to {values.max().item():g}"
        )
