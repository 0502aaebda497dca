"""Which networks of the package can be exported to ONNX, and how far the file is from the network.

    .venv/bin/python studies/export_networks.py                       a table
    .venv/bin/python studies/export_networks.py unet condseg          of some
    .venv/bin/python studies/export_networks.py --json                results/export-networks.json

Each is made small, with random weights, for three channels and two classes, exported once, and run by onnxruntime on
batches and sizes other than that of the export. What counts is the largest difference of a probability.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from metadcseg.errors import InputError
from metadcseg.export.onnx import OPSET, Deployed, write_network
from metadcseg.networks import NetworkOptions, create_network
from metadcseg.networks.registry import KINDS

ROOT = Path(__file__).resolve().parents[1]
SMALL = {"unetplusplus": 4, "unet": 4, "nnunet-plain": 4}


def measure(name: str, axes: int) -> dict[str, Any]:
    """Export a network of two or three axes, and compare the file with it."""
    options = NetworkOptions(name=name, width=SMALL.get(name), spatial_dims=axes)
    network = create_network(options, 3, 2, torch.Generator().manual_seed(0)).eval()
    deployed, step = Deployed(network), network.multiple
    least = [max(network.smallest, step)] * axes
    generator = torch.Generator().manual_seed(1)
    row: dict[str, Any] = {"network": name, "axes": axes, "exports": True, "opset": OPSET}
    begun = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        images = torch.randn(
            2, 3, *(side + step * place for place, side in enumerate(least)), generator=generator
        )
        try:
            shape = write_network(deployed, images, file, name)
        except InputError as error:
            return row | {"exports": False, "reason": str(error)}
        row |= {
            "seconds": round(time.perf_counter() - begun, 1),
            "megabytes": round(file.stat().st_size / 1e6, 2),
        }
        row["free"] = [place for place, side in enumerate(shape) if not isinstance(side, int)]
        session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
        worst = 0.0
        for count, more in ((1, 0), (3, 2)):
            images = torch.randn(count, 3, *(side + step * more for side in least), generator=generator)
            found = session.run(None, {"images": images.numpy()})[0]
            with torch.inference_mode():
                worst = max(worst, float(np.abs(found - network(images).logits.softmax(dim=1).numpy()).max()))
    return row | {"difference": worst}


def main() -> None:
    """Measure what the words ask for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="*", choices=[*KINDS, []], default=[])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = options.networks or list(KINDS)
    for name in names:
        for axes in (2, 3) if KINDS[name].volumes else (2,):
            row = measure(name, axes)
            print(row, flush=True)
            if options.json:
                keep(row)


def keep(row: dict[str, Any]) -> None:
    """Put a row into the record, in the place of an earlier one of the same network."""
    file = ROOT / "results" / "export-networks.json"
    rows = json.loads(file.read_text())["rows"] if file.exists() else []
    rows = [other for other in rows if (other["network"], other["axes"]) != (row["network"], row["axes"])]
    rows = sorted([*rows, row], key=lambda one: (list(KINDS).index(one["network"]), one["axes"]))
    record = {"torch": torch.__version__, "onnxruntime": onnxruntime.__version__, "rows": rows}
    file.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
