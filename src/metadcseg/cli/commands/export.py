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

    targets = [Path(each) for each in (options.onnx, options.monai_bundle) if each is not None]
    for out in targets:
        refuse_occupied(out)  # before one of two is written
    if len(set(map(Path.absolute, targets))) < len(targets):
        raise InputError(f"--onnx and --monai-bundle both name {targets[0]}: give each a folder of its own")
    source, trusted = Path(options.run), options.trust_code
    if options.onnx is not None:
        out = Path(options.onnx)
        with console.status(f"exporting {options.run} ..."):
            from metadcseg.export.onnx import export_onnx

            found = export_onnx(source, out, trust_code=trusted)
        plain_output().print(
            f"{out}: model.onnx (opset {found['opset']}, probabilities differ by at most {found['difference']:.1g}), "
            f"model.json; predict with python {shlex.quote(str(out / 'run.py'))} {found['takes'].upper()} MASKS"
        )
    if options.monai_bundle is not None:
        out = Path(options.monai_bundle)
        with console.status(f"exporting {options.run} ..."):
            from metadcseg.export.monai_bundle import export_bundle

            found = export_bundle(source, out, trust_code=trusted)
        plain_output().print(
            f"{out}: models/model.ts (probabilities differ by at most {found['difference']:.1g}), configs; "
            f"{out / 'docs' / 'README.md'} says how MONAI runs it"
        )
    return 0
