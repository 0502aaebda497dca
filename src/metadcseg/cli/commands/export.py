"""``metadcseg export``: a trained network for programs that have neither torch nor this package."""

import shlex
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import add_trust_option, plain_output
from metadcseg.errors import InputError

DESCRIPTION = """Write the network of a run as ONNX into a folder, with model.json, which says what has to be done to
an image before and to the answer after, and run.py, which does it: it needs onnxruntime, numpy, and Pillow for images
or nibabel for volumes."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("run", type=str, help="the folder that train wrote")
    parser.add_argument(
        "--onnx", type=str, default=None, help="the folder for model.onnx, model.json, run.py"
    )
    add_trust_option(parser)


def run(options: Namespace, console: Console) -> int:
    """Export, and say what is where."""
    if options.onnx is None:
        raise InputError("export needs the folder to write: metadcseg export RUN --onnx OUT")
    out = Path(options.onnx)
    with console.status(f"exporting {options.run} ..."):
        from metadcseg.export.onnx import export_onnx

        found = export_onnx(Path(options.run), out, trust_code=options.trust_code)
    plain_output().print(
        f"{out}: model.onnx (opset {found['opset']}, probabilities differ by at most {found['difference']:.1g}), "
        f"model.json; predict with python {shlex.quote(str(out / 'run.py'))} {found['takes'].upper()} MASKS"
    )
    return 0
