"""``metadcseg evaluate``: scores of a trained network against reference masks, at native resolution."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from metadcseg.cli.commands.console import (
    add_device_option,
    add_inference_options,
    add_split_option,
    add_trust_option,
    check_split,
    print_json,
    print_note,
    print_table,
    progress_bar,
    score_table,
)
from metadcseg.data.findings import plural
from metadcseg.data.store.reader import PreparedSet
from metadcseg.files import output_folder, write_bytes

DESCRIPTION = """Score a run on one split of a set: DSC, IoU, HD, HD95 and NSD per case and class, in pixels and,
where the spacing is known, in mm. Writes RUN/evaluation/SPLIT.json, SPLIT.csv (one row per case) and the predicted
masks. An empty prediction counts as DSC 0 and as a distance of the whole image diagonal; how many there were is
printed beside the means."""


def add_options(parser: ArgumentParser) -> None:
    """Add the options of this command."""
    parser.add_argument("run", type=str, help="the folder that train wrote")
    parser.add_argument(
        "--data", type=str, default=None, help="a prepared set (default: the one it was trained on)"
    )
    add_split_option(parser)
    parser.add_argument("--overlays", action="store_true", help="also write pictures with the outlines")
    parser.add_argument(
        "--weights",
        action="store_true",
        help="also say how well the method's weights tell wrong training pixels, in RUN/evaluation/weights.json",
    )
    parser.add_argument(
        "--cost",
        action="store_true",
        help="also count and time what an image costs, in RUN/evaluation/cost.json",
    )
    add_inference_options(parser)
    add_device_option(parser)
    add_trust_option(parser)
    parser.add_argument("--json", action="store_true", help="print the summary as one JSON object")


def run(options: Namespace, console: Console) -> int:
    """Evaluate and print the means."""
    check_split(options.split)
    folder = Path(options.run)
    with progress_bar(
        console, "evaluating"
    ) as advance:  # torch takes seconds to load: the bar is there before
        from metadcseg.evaluation.evaluate import evaluate_run
        from metadcseg.evaluation.inference import InferenceOptions
        from metadcseg.training.run.folder import read_run, set_of_run

        info = read_run(folder)
        prepared = PreparedSet.open(set_of_run(info, options.data))
        if options.weights:
            _judge_weights(folder, prepared, info, options.trust_code, console)
        if options.cost:
            _measure_cost(folder, info, options.accelerator, options.trust_code)
        record = evaluate_run(
            folder,
            prepared,
            options.split,
            overlays=options.overlays,
            device=options.accelerator,
            trust_code=options.trust_code,
            options=InferenceOptions(options.flips, options.windows, options.overlap, options.batch_size),
            progress=advance,
        )
    if options.json:
        print_json(record)
        return 0
    table = score_table(
        [(str(record["label"]), record)], f"{options.split}: {plural(record['summary']['dsc']['n'], 'case')}"
    )
    print_table(table)
    if len(record["per_class"]) > 1:
        print_table(score_table(_parts(record), "classes"))
    if "regions" in record:
        print_table(score_table(_parts(record["regions"]), "regions (unions of classes)"))
    for note in record["notes"]:
        print_note(console, note)
    return 0


def _judge_weights(
    folder: Path, prepared: PreparedSet, info: Mapping[str, Any], trust_code: bool, console: Console
) -> None:
    from metadcseg.evaluation.noise_detection import NothingToJudge, judge_weights
    from metadcseg.training.run.folder import options_of_run

    method, network, options = options_of_run(info, trust_code, str(folder / "run.json"))
    output_folder(folder, "evaluation")
    try:
        record = judge_weights(folder, prepared, method, network, options)
    except NothingToJudge as nothing:
        print_note(console, str(nothing))
    else:
        _write(folder / "evaluation" / "weights.json", record)


def _measure_cost(folder: Path, info: Mapping[str, Any], device: str, trust_code: bool) -> None:
    from metadcseg.evaluation.cost import measure_cost
    from metadcseg.evaluation.predict import load_predictor

    trained, _ = load_predictor(folder, device, trust_code=trust_code)
    options = info["training"]
    grid = (options["size"],) * 2
    if info["network"]["spatial_dims"] == 3:
        grid = tuple(options["patch"] or (options["depth"], *grid))
    output_folder(folder, "evaluation")
    _write(folder / "evaluation" / "cost.json", measure_cost(trained, info["set"]["channels"], grid))


def _write(file: Path, record: Mapping[str, Any]) -> None:
    write_bytes(file, (json.dumps(record, indent=1) + "\n").encode())


def _parts(record: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Return one row per class, or per region, and their mean."""
    rows = [
        (name, {"summary": entry, "empty_predictions": entry["empty_predictions"]})
        for name, entry in record["per_class"].items()
    ]
    return [*rows, ("mean", record)]
