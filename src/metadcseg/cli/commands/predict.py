"""``metadcseg predict``: masks for images that nobody has outlined."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import plain_output, progress_bar

DESCRIPTION = """Segment new images (a file, or every image of a folder) with a trained network and write a PNG mask
for each, in the image's own size. A network that was trained on volumes takes volumes and writes a label volume over
each, in its own grid and format. A file that cannot be read is named at the end; the others are done."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("run", type=str, help="the folder that train wrote")
    parser.add_argument("images", type=str, help="an image or volume, or a folder of them")
    parser.add_argument("--out", type=str, required=True, help="where the masks go")
    parser.add_argument("--overlays", action="store_true", help="also write each image with its outline")


def run(options: Namespace, console: Console) -> int:
    """Predict and say how many masks were written."""
    from metadcseg.evaluation.predict import predict_images
    from metadcseg.evaluation.volumes import predict_volumes
    from metadcseg.training.run.folder import read_run

    run_folder, images, out = Path(options.run), Path(options.images), Path(options.out)
    if read_run(run_folder)["set"].get("preprocessing"):
        with progress_bar(console, "predicting") as advance:
            written = predict_volumes(run_folder, images, out, overlays=options.overlays, progress=advance)
        plain_output().print(f"{len(written)} label volumes in {out}")
        return 0
    with progress_bar(console, "predicting") as advance:
        written = predict_images(
            run_folder,
            images,
            out,
            overlays=options.overlays,
            progress=advance,
        )
    plain_output().print(f"{len(written)} masks in {options.out}")
    return 0
