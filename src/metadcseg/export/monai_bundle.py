"""A trained network of images as a MONAI bundle: TorchScript, and configurations that MONAI's own reader carries out.

The network is TorchScript although torch deprecates it: MONAI's engine and tools put a network into evaluation mode,
which a program of ``torch.export`` refuses.
"""

import json
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import metadcseg
from metadcseg.data.store.disk import publish_folder, refuse_occupied
from metadcseg.errors import InputError, shown
from metadcseg.evaluation.overlays import mask_values
from metadcseg.evaluation.predict import load_predictor, probabilities_at_native
from metadcseg.export.description import describe
from metadcseg.export.memory import refuse_too_large
from metadcseg.export.monai_inference import inference
from metadcseg.export.onnx import Deployed
from metadcseg.export.parity import TOLERANCE, check_difference, network_name, reason_of
from metadcseg.files import cannot_write
from metadcseg.scratch import scratch_folder
from metadcseg.training.run.folder import TrainedRun

_SIDES = ((2, 37, 53), (1, 29, 24))  # (N, H, W), of images that the file is tried with

_CODE = re.compile(r"^[$%@]|[%@](?:::|#)")

_README = """# {name}

Segmentation of images into {classes}, trained by metadcseg {metadcseg} (method {method}).

In this folder (the one that holds `configs/`), with your paths in the place of IMAGES and MASKS:

    pip install "monai[ignite,fire]" pillow
    python -m monai.bundle run --config_file configs/inference.json --bundle_root . \\
        --dataset_dir IMAGES --output_dir MASKS

- `models/model.ts` takes normalized images of any size, (N, {channels}, H, W) float32, and returns probabilities,
  (N, {count}, H, W). It resamples to {size} x {size} pixels, and back, itself. It needs torch alone.
- `configs/inference.json` reads images ({ends}), applies the orientation tag, and normalizes each channel.
- Masks are called `x.png`, or `x.jpg.png` where several images are called x. What is there is overwritten.
- Values in a mask: {values}.
- Probabilities are those of `metadcseg predict` within {tolerance:g}.
"""


class AtNativeSize(nn.Module):
    """A network of a square grid, between the resampling of images to it and of probabilities back.

    Args:
        network: returns (N, L, S, S) probabilities of (N, C, S, S) images whose sides fit.
        size: S, the side of the grid.
        padded: the side that the network takes: the edge is repeated up to it.

    Example:
        >>> AtNativeSize(nn.Softmax(dim=1), 8, 16)(torch.ones(1, 2, 5, 7)).shape
        torch.Size([1, 2, 5, 7])
    """

    def __init__(self, network: nn.Module, size: int, padded: int) -> None:
        super().__init__()
        self.network, self.size, self.more = network, size, padded - size

    def forward(self, images: Tensor) -> Tensor:
        """Return (N, L, H, W) probabilities of (N, C, H, W) normalized images."""
        grid = F.interpolate(
            images, size=[self.size, self.size], mode="bilinear", antialias=True, align_corners=False
        )
        grid = F.pad(grid, [0, self.more, 0, self.more], mode="replicate")
        maps = self.network(grid)[:, :, : self.size, : self.size]
        native = [images.shape[2], images.shape[3]]
        return F.interpolate(maps, size=native, mode="bilinear", align_corners=False)


def export_bundle(run: Path, out: Path, *, trust_code: bool = False) -> dict[str, Any]:
    """Write a MONAI bundle: ``models/model.ts``, ``configs/metadata.json``, ``configs/inference.json``, a README.

    The file is read again, run on two batches, and compared with the network.

    Args:
        run: the folder of a run on images.
        out: the folder to write: missing or empty.
        trust_code: whether a class of a network that ``run.json`` names may be imported; its code runs then.

    Returns:
        What ``metadata.json`` says; there ``difference`` is the largest of a probability.

    Raises:
        InputError: where the folder is no run, or one on volumes, ``out`` holds something, the network cannot be
            written as TorchScript, or a name would be code to MONAI.

    Example:
        >>> export_bundle(Path("my_run"), Path("my_bundle"))["task"]  # doctest: +SKIP
        'segmentation'
    """
    refuse_occupied(out)
    trained, predict = load_predictor(run, "cpu", trust_code=trust_code)
    said = describe(trained)
    if said["takes"] == "volumes":
        raise InputError(
            f"{run} was trained on volumes, which no transform of MONAI cuts, crops and resamples as training did: "
            "export it with --onnx"
        )
    multiple, smallest = said["input"]["multiple"], said["input"]["smallest"][0]
    padded = max(-(-trained.size // multiple) * multiple, smallest)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with scratch_folder(out.parent) as scratch:
            draft = scratch / "export"
            for name in ("configs", "models", "docs"):
                (draft / name).mkdir(parents=True)
            file = draft / "models" / "model.ts"
            _write_network(trained, AtNativeSize(_traced(trained, padded), trained.size, padded), file)
            difference = _difference(trained, predict, file)
            told = _metadata(trained, said, difference)
            _refuse_code(trained, told)
            for name, content in (("metadata", told), ("inference", inference(said))):
                (draft / "configs" / f"{name}.json").write_text(json.dumps(content, indent=4) + "\n")
            text = _readme(trained, said).encode("utf-8", "backslashreplace")
            (draft / "docs" / "README.md").write_bytes(text)
            publish_folder(draft, out)
    except OSError as error:
        raise cannot_write(out, error) from error
    return told


@contextmanager
def _no_word_of_scripts() -> Iterator[None]:
    """Keep back that TorchScript is deprecated, and what tracing says of sizes: the file is tried with several."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit.*", DeprecationWarning)
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        yield


def _traced(trained: TrainedRun, side: int) -> nn.Module:
    network, shape = Deployed(trained.network), (2, trained.channels, side, side)
    refuse_too_large(network, shape, trained.folder.path, "use a larger machine, or export it with --onnx")
    images = torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    try:
        with _no_word_of_scripts(), torch.inference_mode():
            traced: nn.Module = torch.jit.trace(network, images)  # type: ignore[no-untyped-call]
    except Exception as error:  # tracing raises anything on what it cannot follow
        raise _cannot(trained, error) from error
    return traced


def _write_network(trained: TrainedRun, network: AtNativeSize, file: Path) -> None:
    try:
        with _no_word_of_scripts():
            torch.jit.script(network.eval()).save(str(file))  # type: ignore[no-untyped-call]
    except OSError:
        raise
    except Exception as error:
        raise _cannot(trained, error) from error


def _cannot(trained: TrainedRun, error: Exception) -> InputError:
    name, reason = network_name(trained), reason_of(error)
    return InputError(
        f"the network {name} cannot be written as TorchScript ({reason}): export it with --onnx"
    )


def _difference(trained: TrainedRun, predict: Any, file: Path) -> float:
    """Run the file and return by how much a probability differs at most.

    Raises:
        InputError: see :func:`.check_difference`.
    """
    generator = torch.Generator().manual_seed(1)
    worst = 0.0
    with _no_word_of_scripts():
        network = torch.jit.load(str(file))  # type: ignore[no-untyped-call]
    for count, *sides in _SIDES:
        images = torch.randn(count, trained.channels, *sides, generator=generator)
        with torch.inference_mode():
            found = network(images)
        for image, maps in zip(images, found, strict=True):
            plane = image.permute(1, 2, 0).numpy()
            wanted = probabilities_at_native(predict, plane, trained.size, normalized=True)
            worst = max(worst, float((maps - wanted).abs().max()))
    return check_difference(trained, worst)


def _metadata(trained: TrainedRun, said: dict[str, Any], difference: float) -> dict[str, Any]:
    """Return ``metadata.json``, by MONAI's specification of bundles."""
    common = {"spatial_shape": ["*", "*"], "dtype": "float32", "is_patch_data": False}
    return {
        "version": "1.0.0",
        "changelog": {"1.0.0": f"exported by metadcseg {metadcseg.__version__}"},
        "monai_version": version("monai"),
        "pytorch_version": torch.__version__.partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"pillow": version("pillow")},
        "name": trained.info["label"],
        "task": "segmentation",
        "description": f"{', '.join(said['classes'])}; trained by metadcseg, method {trained.info['method']}",
        "authors": "",
        "copyright": "",
        "intended_use": "research; it is no medical device",
        "run": said["run"],
        "difference": difference,
        "network_data_format": {
            "inputs": {
                "image": common
                | {
                    "type": "image",
                    "format": "normalized",
                    "modality": "n/a",
                    "num_channels": said["channels"],
                    "value_range": [],
                    "channel_def": {str(number): f"channel {number}" for number in range(said["channels"])},
                }
            },
            "outputs": {
                "pred": common
                | {
                    "type": "probabilities",
                    "format": "segmentation",
                    "num_channels": len(said["classes"]),
                    "value_range": [0, 1],
                    "channel_def": {str(number): name for number, name in enumerate(said["classes"])},
                }
            },
        },
    }


def _refuse_code(trained: TrainedRun, told: object) -> None:
    """Refuse names, of classes or of the run, that would run as code, or read other files, where MONAI reads them."""
    if isinstance(told, dict | list):
        for each in told.values() if isinstance(told, dict) else told:
            _refuse_code(trained, each)
    elif isinstance(told, str) and _CODE.search(told):
        raise InputError(
            f"{trained.folder.path}: the name {shown(told)} is code or a reference to MONAI ($, %, @), which would "
            "carry it out: export it with --onnx"
        )


def _readme(trained: TrainedRun, said: dict[str, Any]) -> str:
    return _README.format(
        name=trained.info["label"],
        classes=", ".join(said["classes"]),
        metadcseg=metadcseg.__version__,
        method=trained.info["method"],
        channels=said["channels"],
        count=len(said["classes"]),
        size=trained.size,
        values=", ".join(f"{value} {name}" for name, value in mask_values(trained.classes).items()),
        tolerance=TOLERANCE,
        ends=", ".join(said["suffixes"]),
    )
