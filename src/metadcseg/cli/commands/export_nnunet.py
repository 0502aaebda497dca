"""``metadcseg export-nnunet``: a prepared set as a raw folder of nnU-Net."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import plain_output, progress_bar
from metadcseg.data.export.nnunet import GOLD
from metadcseg.data.store.reader import PreparedSet

DESCRIPTION = """Write a prepared set, with its noisy labels and its split, as a raw folder of nnU-Net (version 2), so
that nnU-Net can be run on it for comparison. The folder holds a text with the commands to run."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("set", type=str, help="a prepared set")
    parser.add_argument("--out", type=str, required=True, help="the folder that nnU-Net calls nnUNet_raw")
    parser.add_argument("--id", type=int, default=500, help="number of the data set for nnU-Net, 1 to 999")
    parser.add_argument(
        "--gold", type=str, default="once", help=f"gold cases among the training cases: {', '.join(GOLD)}"
    )


def run(options: Namespace, console: Console) -> int:
    """Write, and say where the commands are."""
    from metadcseg.data.export.nnunet import export_nnunet

    prepared = PreparedSet.open(Path(options.set))
    with progress_bar(console, "writing") as advance:
        folder = export_nnunet(
            prepared, Path(options.out), number=options.id, gold=options.gold, progress=advance
        )
    plain_output().print(f"{folder}: what to run is in {folder / 'README.txt'}")
    return 0
