"""``metadcseg export-annotations``: masks of an audit for the tools in which people draw."""

from pathlib import Path

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import plain_output, print_json, progress_bar
from metadcseg.data.findings import plural

DESCRIPTION = """Write the masks of an audit in the format of a drawing tool: COCO, CVAT, Label Studio and TIFF of
images; NIfTI, 3D Slicer and DICOM SEG of volumes. What is drawn there comes back in gold/
of the folder that 'metadcseg prepare' reads."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("audit", type=str, help="the folder that audit wrote")
    parser.add_argument(
        "--to", type=str, required=True, help="coco, cvat, label-studio or tiff; nifti, slicer or dicom-seg"
    )
    parser.add_argument("--out", type=str, required=True, help="where the files go")
    parser.add_argument(
        "--level", type=str, default="balanced", help="which masks: sure, balanced, network, or given"
    )
    parser.add_argument(
        "--worst", type=int, default=None, help="only so many cases, those of the lowest expected DSC"
    )
    parser.add_argument("--data", type=str, default=None, help="the audited set, where it was moved")
    parser.add_argument(
        "--folder", type=str, default=None, help="the files that it was made from, where moved"
    )
    parser.add_argument("--json", action="store_true", help="print what was written as one JSON object")


def run(options: Namespace, console: Console) -> int:
    """Export, and say what was written."""
    from metadcseg.audit.exchange.export import export_annotations

    moved = {name: None if options[name] is None else Path(options[name]) for name in ("data", "folder")}
    with progress_bar(console, "exporting") as advance:
        facts = export_annotations(
            Path(options.audit),
            Path(options.out),
            options.to,
            level=options.level,
            worst=options.worst,
            progress=advance,
            **moved,
        )
    if options.json:
        print_json(facts)
        return 0
    plain_output().print(
        f"{options.out}: {options.level} masks of {plural(facts['cases'], 'case')} for {options.to}"
    )
    if facts["ignored"]:
        told = f"note: {plural(facts['ignored'], 'case')} with ignored pixels: they have the class 'ignore'"
        console.print(told, markup=False, highlight=False, soft_wrap=True)
    return 0
