"""All that a program needs to know of an exported network, besides the network: what comes before it, and after."""

from typing import Any

import metadcseg
from metadcseg.data.formats.images import SUFFIXES
from metadcseg.data.slicing.cut import MARGIN, SliceOptions
from metadcseg.evaluation.overlays import mask_values
from metadcseg.networks.committee import members_of
from metadcseg.training.prediction import OVERLAP, WINDOW_LEAST, WINDOW_SIGMA
from metadcseg.training.run.folder import TrainedRun

FORMAT = 1
"""Of ``model.json``."""

INPUT, OUTPUT = "images", "probabilities"
"""How the network's input and output are called."""

_RESAMPLE = (
    "separable and linear, centers of pixels at i + 0.5; into the network, where an axis shrinks, the triangle is as "
    "wide as a new pixel (antialiasing), on the way back it never is; beyond the last center the last value holds"
)
_OF_IMAGES = (
    "the orientation tag (EXIF) is applied; transparency is dropped; gray is repeated for 3 channels, color becomes "
    "0.299 R + 0.587 G + 0.114 B for 1; each channel minus its mean, by its standard deviation (float64), 0 where it "
    "is constant; stretched to the grid"
)
_OF_VOLUMES = (
    "channels lie in the fourth axis; each is normalized over the whole volume, cut into slices, which are turned to "
    "ascend as in RAS+ where the order is world and the file says how it lies, cropped, resampled to the pixel size "
    "where one is given, rounded to float16, and stretched to the grid"
)
_AFTER = (
    "probabilities are resampled to the size of the image, or of the cut slice and then of the file's voxels; the most "
    "probable class is taken (argmax, the first of equals); outside a crop it is 0"
)


def describe(trained: TrainedRun) -> dict[str, Any]:
    """Return what ``model.json`` says of a run: plain values, ready for JSON.

    Args:
        trained: the run.

    Returns:
        ``takes`` (images or volumes), ``suffixes`` of files that the runner reads, ``channels``, ``grid`` ((S, S), or
        (Z, S, S) of a network of volumes), ``window`` (size, overlap, sigma as a share of the size, and least weight,
        of windows that slide over the grid; None for the whole grid), ``input`` (name, axes, dtype, and sizes that the
        network takes: multiples of ``multiple``, at least ``smallest``; the edge is repeated up to them),
        ``preprocessing``, ``output``, ``classes``, ``values`` (class -> value in a mask), and where it is from.
    """
    members = members_of(trained.network)
    first, preprocessing = members[0], trained.info["set"].get("preprocessing")
    axes = axis_names(first.axes)
    smallest = [first.smallest] * first.axes
    if first.axes == 3 and not first.fit:
        smallest[0] = first.multiple
    before: dict[str, Any] = {"how": _OF_IMAGES, "resample": _RESAMPLE}
    if preprocessing is not None:
        cut = SliceOptions.from_dict(preprocessing)
        before |= {"how": _OF_VOLUMES, "axis": cut.axis, "pixel": cut.pixel, "normalize": cut.normalize}
        before |= {"crop": cut.crop, "margin": MARGIN, "order": cut.order}
    patch = trained.info["training"].get("patch")
    window = {"size": patch, "overlap": OVERLAP, "sigma": WINDOW_SIGMA, "least": WINDOW_LEAST}
    numbers = {name: number for number, name in enumerate(trained.classes)}
    many = f"of the mean of the logits of {len(members)} networks" if len(members) > 1 else "of the logits"
    return {
        "format": FORMAT,
        "takes": "images" if preprocessing is None else "volumes",
        "suffixes": SUFFIXES if preprocessing is None else (".nii", ".nii.gz"),
        "channels": trained.channels,
        "spatial_dims": first.axes,
        "grid": trained.grid,
        "window": None if patch is None else window,
        "input": {
            "name": INPUT,
            "axes": axes,
            "dtype": "float32",
            "multiple": first.multiple,
            "smallest": smallest,
        },
        "preprocessing": before,
        "output": {"name": OUTPUT, "axes": ["N", "L", *axes[2:]], "what": f"softmax {many}"},
        "postprocessing": _AFTER,
        "classes": trained.classes,
        "values": mask_values(trained.classes) if preprocessing is None else numbers,
        "run": {name: trained.info[name] for name in ("method", "label", "seed", "epochs_done")},
        "metadcseg": metadcseg.__version__,
    }


def axis_names(axes: int) -> list[str]:
    """Return the letters of a network's input.

    Args:
        axes: 2 of images, 3 of volumes.

    Example:
        >>> axis_names(2), axis_names(3)
        (['N', 'C', 'H', 'W'], ['N', 'C', 'Z', 'H', 'W'])
    """
    return ["N", "C", *"ZHW"[-axes:]]
