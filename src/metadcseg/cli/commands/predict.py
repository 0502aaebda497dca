"""``metadcseg predict``: masks for images that nobody has outlined."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import (
    add_device_option,
    add_inference_options,
    plain_output,
    progress_bar,
)

DESCRIPTION = """Segment new images (a file, or every image of a folder) with a trained network and write a PNG mask
for each, in the image's own size. A network that was trained on volumes takes volumes and writes a label volume over
each, in its own grid and format. A file that cannot be read is named at the end; the others are done."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("run", type=str, help="the folder that train wrote")
    parser.add_argument("images", type=str, help="an image or volume, or a folder of them")
    parser.add_argument("--out", type=str, required=True, help="where the masks go")
    parser.add_argument("--overlays", action="store_true", help="also write each image with its outline")
    add_inference_options(parser)
    told = "threads that read the next images meanwhile (default 0)"
    parser.add_argument("--workers", type=int, default=0, help=told)
    add_device_option(parser)


def run(options: Namespace, console: Console) -> int:
    """Predict and say how many masks were written."""
    run_folder, images, out = Path(options.run), Path(options.images), Path(options.out)
    with progress_bar(
        console, "predicting"
    ) as advance:  # torch takes seconds to load: the bar is there before
        from metadcseg.evaluation.inference import InferenceOptions
        from metadcseg.evaluation.predict_files import predict_images
        from metadcseg.training.run.folder import read_run

        volumes = bool(read_run(run_folder)["set"].get("preprocessing"))
        written = predict_images(
            run_folder,
            images,
            out,
            overlays=options.overlays,
            device=options.accelerator,
            options=InferenceOptions(options.flips, options.windows, options.overlap, options.batch_size),
            workers=options.workers,
            progress=advance,
        )
    plain_output().print(f"{len(written)} {'label volumes' if volumes else 'masks'} in {out}")
    return 0
