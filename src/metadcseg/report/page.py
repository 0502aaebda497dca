"""One self-contained HTML page that shows runs side by side, made from their records alone.

Nothing in the page is loaded from elsewhere: pictures travel inside it, there is no script, and a policy in
its head forbids the browser to fetch anything. Names and ids are escaped, whatever they hold.
"""

from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from metadcseg.colors import GIVEN, PREDICTED, VERIFIED
from metadcseg.data.store.reader import PreparedSet
from metadcseg.errors import InputError
from metadcseg.report.curves import Curve, color, draw_curves
from metadcseg.report.gallery import Picture, noise_examples, prediction_examples
from metadcseg.report.output import as_bytes, write_output
from metadcseg.report.pictures import data_uri, file_uri
from metadcseg.report.sentences import comparisons, headline, mismatches, ranking, seeds, signed
from metadcseg.results.records import RunRecord, mapping, number, paired_difference, read_runs

_METRICS = (
    ("dsc", "DSC", "", 3),
    ("iou", "IoU", "", 3),
    ("hd", "HD", "px", 1),
    ("hd95", "HD95", "px", 1),
    ("nsd", "NSD", "", 3),
    ("hd_mm", "HD", "mm", 1),
    ("hd95_mm", "HD95", "mm", 1),
)
_UNKNOWN = "–"
_ROLES = {"given": GIVEN, "verified": VERIFIED, "predicted": PREDICTED}


def build_page(
    runs: Sequence[Path],
    set_path: Path,
    out: Path,
    title: str,
    example_cases: int = 4,
    commands: Sequence[str] = (),
) -> Path:
    """Write the page.

    Args:
        runs: folders of the runs, in the order of legend and pictures. What is missing in one of them becomes
            a sentence in the page.
        set_path: the prepared set that they were trained on.
        out: the HTML file; an earlier one is replaced when the new one is whole.
        title: heading of the page.
        example_cases: how many test cases, and how many training masks, are shown.
        commands: what to type to get the same again, one command each.

    Returns:
        ``out``.

    Raises:
        InputError: where there is no run to show, or the page cannot be written.
    """
    if not runs:
        raise InputError("a page needs at least one run, got none: name the folders of the runs to compare")
    records = read_runs(runs)
    missing = [sentence for run in records for sentence in run.missing]
    prepared = _open_set(Path(set_path), missing)
    context = {
        "title": title,
        "headline": headline(records, prepared),
        "facts": _facts(prepared),
        **_table(records),
        "strips": _strips(records),
        "curves": _curves(records),
        "legend": [(run.name, color(place)) for place, run in enumerate(records)],
        "roles": {name: f"rgb{tint}" for name, tint in _ROLES.items()},
        "noise": noise_examples(prepared, example_cases, missing) if prepared and prepared.noise else [],
        "examples": prediction_examples(prepared, records, example_cases, missing) if prepared else [],
        "figures": _figures(records, missing),
        "provenance": _provenance(records, prepared),
        "missing": list(dict.fromkeys(missing + mismatches(records, prepared))),
        "commands": list(commands),
    }
    template = resources.files("metadcseg.report").joinpath("page.html.jinja").read_text("utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    write_output(Path(out), as_bytes(environment.from_string(template).render(context)))
    return Path(out)


def _open_set(path: Path, missing: list[str]) -> PreparedSet | None:
    try:
        return PreparedSet.open(path)
    except InputError as error:
        missing.append(f"{error}.")
        return None


def _facts(prepared: PreparedSet | None) -> list[tuple[str, str]]:
    """Return the few large figures under the heading."""
    if prepared is None:
        return []
    names = {"train": "training cases", "gold": "gold cases", "val": "validation cases", "test": "test cases"}
    facts = [(str(len(prepared.select(role))), name) for role, name in names.items()]
    rate = number((prepared.noise or {}).get("rate"))
    return facts if rate is None else [(f"{rate:.1%}", "label noise in training"), *facts]


def _table(runs: Sequence[RunRecord]) -> dict[str, Any]:
    """Return rows by falling DSC, their columns, and the sentences that belong to them."""
    shown = [
        entry for entry in _METRICS if not entry[0].endswith("_mm") or any(r.spread(entry[0]) for r in runs)
    ]
    baseline = next((run for run in runs if run.equal_gold_baseline and run.cases), None)
    places = {run.name: place for place, run in enumerate(runs)}
    ranked = sorted(runs, key=lambda run: -(run.spread("dsc") or (-1.0, None))[0])
    return {
        "several_networks": any(mapping(run.info, "declaration").get("networks", 1) != 1 for run in runs),
        "columns": [(heading, unit) for _, heading, unit, _ in shown],
        "rows": [_row(run, color(places[run.name]), shown, baseline) for run in ranked],
        "ranking": ranking(ranked),
        "comparisons": comparisons(runs, baseline),
        "seeds": seeds(runs),
        "baseline": None if baseline is None else baseline.name,
    }


def _row(
    run: RunRecord, swatch: str, shown: Sequence[tuple[str, str, str, int]], baseline: RunRecord | None
) -> dict[str, Any]:
    declared = mapping(run.info, "declaration")
    seconds, parameters = number(run.info.get("seconds")), number(run.info.get("parameters"))
    passes = number(declared.get("passes"))
    cells = []
    for metric, _, _, digits in shown:
        spread = run.spread(metric)
        mean = _UNKNOWN if spread is None else f"{spread[0]:.{digits}f}"
        cells.append((mean, "" if spread is None or spread[1] is None else f"± {spread[1]:.{digits}f}"))
    difference = None if baseline in (None, run) else paired_difference(run, baseline)
    delta = (_UNKNOWN, "")
    if difference is not None:
        delta = signed(difference.mean), "" if difference.sd is None else f"± {difference.sd:.3f}"
    return {
        "name": run.name,
        "swatch": swatch,
        "gold": run.gold,
        "upper_bound": declared.get("labels") == "truth",
        "cells": cells,
        "delta": delta,
        "empty": run.evaluation.get("empty_predictions", _UNKNOWN),
        "passes": _UNKNOWN if passes is None else f"{passes:g}",
        "networks": declared.get("networks", _UNKNOWN),
        "seconds": _UNKNOWN if seconds is None else f"{seconds:,.0f}",
        "parameters": _UNKNOWN if parameters is None else f"{parameters / 1e6:.2f} M",
    }


def _strips(runs: Sequence[RunRecord]) -> list[dict[str, Any]]:
    """Return every run's DSC case by case, in percent of the axis, for the dots of the strip plot."""
    return [
        {
            "name": run.name,
            "swatch": color(place),
            "dots": [(case, record.dsc, 100 * record.dsc) for case, record in run.cases.items()],
            "mean": 100 * sum(record.dsc for record in run.cases.values()) / len(run.cases),
        }
        for place, run in enumerate(runs)
        if run.cases
    ]


def _curves(runs: Sequence[RunRecord]) -> list[dict[str, str]]:
    """Draw what was recorded after each epoch, for a light and a dark page."""
    figures = []
    for group, key, heading in (
        ("val", "dsc", "DSC on validation cases"),
        ("train", "loss", "training loss"),
    ):
        curves = []
        for place, run in enumerate(runs):
            points = [(entry["epoch"], number(mapping(entry, group).get(key))) for entry in run.epochs]
            known = [(int(epoch) + 1, value) for epoch, value in points if value is not None]
            if known:
                epochs, values = zip(*known, strict=True)
                curves.append(Curve(place, epochs, values))
        if curves:
            names = ", ".join(runs[curve.position].name for curve in curves)
            links = {theme: data_uri(draw_curves(curves, heading, theme)) for theme in ("light", "dark")}
            figures.append({"alt": f"{heading} against epochs for {names}", **links})
    return figures


def _figures(runs: Sequence[RunRecord], missing: list[str]) -> list[Picture]:
    figures = []
    for run in runs:
        if run.figure is not None:
            try:
                alt = f"samples of {run.name} with their predictions and weight maps, from {run.figure.name}"
                figures.append(Picture(file_uri(run.figure), alt, run.name, run.figure.stem))
            except InputError as error:
                missing.append(f"{error}.")
    return figures


def _provenance(runs: Sequence[RunRecord], prepared: PreparedSet | None) -> list[tuple[str, str]]:
    facts = (
        [] if prepared is None else [("set", prepared.name), ("fingerprint of the set", prepared.fingerprint)]
    )
    if prepared is not None and prepared.noise is not None:
        names = ("model", "seed", "scale", "vanished")
        noise = {name: prepared.noise[name] for name in names if name in prepared.noise}
        facts += [(f"noise, {name}", f"{value}") for name, value in noise.items()]
    for run in runs:
        versions = ", ".join(f"{name} {value}" for name, value in mapping(run.info, "versions").items())
        facts.append((run.name, f"{run.folder}; seed {run.info.get('seed', 'unknown')}; {versions}"))
    return facts
