"""``metadcseg export``: a trained network for programs that do not have this package."""

import shlex
from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import add_trust_option, plain_output
from metadcseg.errors import InputError

DESCRIPTION = """Write the network of a run into a folder, for other programs. --onnx: model.onnx, with model.json,
which says what has to be done to an image before and to the answer after, and run.py, which does it: it needs
onnxruntime, numpy, and Pillow for images or nibabel for volumes. --monai-bundle: a MONAI bundle of a network of images.
"""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("run", type=str, help="the folder that train wrote")
    parser.add_argument(
        "--onnx", type=str, default=None, help="the folder for model.onnx, model.json, run.py"
    )
    parser.add_argument(
        "--monai-bundle", type=str, default=None, help="the folder for a MONAI bundle, of a run on images"
    )
    add_trust_option(parser)


def run(options: Namespace, console: Console) -> int:
    """Export, and say what is where."""
    if options.onnx is None and options.monai_bundle is None:
        raise InputError(
            "export needs the folder to write: metadcseg export RUN --onnx OUT, or --monai-bundle OUT"
        )
    from metadcseg.data.store.disk import refuse_occupied

    wanted = {name: Path(options[name]) for name in _EXPORTS if options[name] is not None}
    for out in wanted.values():
        refuse_occupied(out)  # before one of two is written
    if len({out.absolute() for out in wanted.values()}) < len(wanted):
        raise InputError(f"--onnx and --monai-bundle both name {options.onnx}: give each a folder of its own")
    for name, out in wanted.items():
        with console.status(f"exporting {options.run} ..."):
            told = _EXPORTS[name](Path(options.run), out, options.trust_code)
        plain_output().print(f"{out}: {told}")
    return 0


def _onnx(run: Path, out: Path, trusted: bool) -> str:
    from metadcseg.export.onnx import export_onnx

    found = export_onnx(run, out, trust_code=trusted)
    return (
        f"model.onnx (opset {found['opset']}, probabilities differ by at most {found['difference']:.1g}), model.json; "
        f"predict with python {shlex.quote(str(out / 'run.py'))} {found['takes'].upper()} MASKS"
    )


def _bundle(run: Path, out: Path, trusted: bool) -> str:
    from metadcseg.export.monai_bundle import export_bundle

    found = export_bundle(run, out, trust_code=trusted)
    return (
        f"models/model.ts (probabilities differ by at most {found['difference']:.1g}), configs; "
        f"{out / 'docs' / 'README.md'} says how MONAI runs it"
    )


_EXPORTS = {"onnx": _onnx, "monai_bundle": _bundle}
"""By option: writes the folder, and returns what is in it."""
