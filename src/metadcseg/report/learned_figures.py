"""Figure 3 and its kin: weights against the distance to the outline, as maps, and whether they find errors."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from metadcseg.colors import GIVEN, VERIFIED, LegendEntry
from metadcseg.report.gallery import Example, Picture
from metadcseg.report.measures import DETECTION
from metadcseg.report.part_tables import condition_key
from metadcseg.report.pictures import Labels, data_uri, outlined
from metadcseg.report.plots import Band, Plot, distance_plot
from metadcseg.report.sheets import Gallery
from metadcseg.report.tables import Cell, Row, Table
from metadcseg.report.values import long_table, value_cell
from metadcseg.results.grid import folder_name
from metadcseg.results.records import mapping, number
from metadcseg.results.summary import BenchmarkRecord, Condition, TaskRecord, spread

_NEAR, _FAR = 4.0, 8.0
_STILL = 1e-4  # from 1: weights that have not moved
_MOST_PIXELS = 2**24
_LONGEST = 80  # characters of a row's name in that of a file
_LETTERS = (("gamma", "γ"), ("alpha", "α"), ("beta", "β"))
MAPS = (
    "Green: verified outline, orange: outline of the label given. Weights lie over the image, on one scale of "
    "colors: bright pixels count, dark ones do not."
)
_LEVELS = 127.5  # of gray for a weight of 1
_SHARE = 0.65  # of a map's color over its image

_ROLES = (LegendEntry("verified", VERIFIED), LegendEntry("given", GIVEN))


def weighted(record: BenchmarkRecord) -> list[tuple[Condition, str, list[TaskRecord]]]:
    """Return condition, row and tasks wherever weights were judged."""
    found = []
    for condition in record.conditions():
        for row in record.rows:
            tasks = [task for task in record.of(condition, row) if task.weights]
            if tasks:
                found.append((condition, row, tasks))
    return found


def detection_table(record: BenchmarkRecord) -> Table | None:
    """Return how well wrong training pixels were told, None where no row has weights."""
    held = weighted(record)
    if not held:
        return None
    values = long_table(record)
    metrics = [
        metric
        for metric in DETECTION
        if any((condition, row, metric) in values for condition, row, _ in held)
    ]
    rows = [
        Row(
            row,
            [
                Cell(condition.name),
                *(value_cell(values.get((condition, row, metric)), beside=False) for metric in metrics),
            ],
        )
        for condition, row, _ in held
    ]
    return Table(
        key="detection",
        title="Which training pixels are labeled wrongly: area under the ROC",
        columns=[("under", ""), *((DETECTION[metric].name, DETECTION[metric].unit) for metric in metrics)],
        rows=rows,
        notes=[
            "0.5 is chance, 1 finds all. By weight: the share of a pixel's weight that the given label did not get, "
            "1 - alpha / gamma; it is blind where alpha and beta move together, and -alpha and beta - alpha are not. A "
            "dash where beta is 0 in every pixel, and so has no share: look at -alpha. "
            "By disagreement: how little the EMA network believes the given class. Both: mean of weight and "
            "disagreement.",
            "Baselines without a network: given foreground; near the outline of the given label; the table of the "
            "gold pairs. Weights add something where they are ahead of these.",
        ],
    )


def distance_figures(record: BenchmarkRecord, missing: list[str]) -> list[tuple[Plot, str]]:
    """Return for every condition and row with weights the curves of figure 3, and what they say in a sentence."""
    found = []
    for condition, row, tasks in weighted(record):
        curves = [held for task in tasks if (held := _curve(task)) is not None]
        if not curves:
            missing.append(
                f"{row}, {condition.name}: no curve of weights against distance in evaluation/weights.json."
            )
            continue
        edges = curves[0]["edges"]
        same = [curve for curve in curves if curve["edges"] == edges]
        bands = []
        for name, letter in _LETTERS:
            columns = list(zip(*(curve[name] for curve in same), strict=True))
            spreads = [spread(column) for column in columns]
            means = [None if held is None else held[0] for held in spreads]
            bands.append(Band(letter, means, [0.0 if held is None else held[1] or 0.0 for held in spreads]))
        title = f"{row}: {condition.name}"
        key = "-".join(["distance", *condition_key(condition), _slug(record, row)])
        found.append((distance_plot(key, title, edges, bands), _sentence(title, same)))
    return found


def _curve(task: TaskRecord) -> dict[str, list[Any]] | None:
    """Return edges, pixels and means of a run; None where they do not fit together."""
    held = mapping(task.weights, "distance")
    lists = {name: held.get(name) for name in ("edges", "pixels", "gamma", "alpha", "beta")}
    if not all(isinstance(value, list) and value for value in lists.values()):
        return None
    numbers = {name: [number(entry) for entry in value or []] for name, value in lists.items()}
    if len({len(value) for value in numbers.values()}) != 1 or None in numbers["edges"]:
        return None
    return numbers


def _sentence(title: str, curves: Sequence[Mapping[str, list[Any]]]) -> str:
    """Say whether gamma falls towards the outline, as the paper's figure 3 shows it."""
    pairs = [(_mean(curve, "gamma", 0, _NEAR), _mean(curve, "gamma", _FAR, np.inf)) for curve in curves]
    known = [(near, far) for near, far in pairs if near is not None and far is not None]
    if not known:
        return f"{title}: too few pixels near or far from the outlines to say how γ goes with the distance."
    near, far = fmean(pair[0] for pair in known), fmean(pair[1] for pair in known)
    numbers = f"{near:.3f} within {_NEAR:g} px of the outline, {far:.3f} from {_FAR:g} px on"
    alphas = [(_mean(c, "alpha", 0, _NEAR), _mean(c, "alpha", _FAR, np.inf)) for c in curves]
    told = [(one, other) for one, other in alphas if one is not None and other is not None]
    if told and max(abs(1 - one) for pair in [*known, *told] for one in pair) < _STILL:
        return f"{title}: the weights did not move: α and γ are 1 near and far ({numbers})."
    if all(abs(one - other) < 1e-6 for one, other in known):
        more = ""
        if told:
            low, high = fmean(pair[0] for pair in told), fmean(pair[1] for pair in told)
            more = f" What moves is α: {low:.3f} near, {high:.3f} far."
        return f"{title}: γ is the same near and far ({numbers}), as it is where α + β = 1 by construction.{more}"
    falling = sum(one < other for one, other in known)
    seeds = f"in {falling} of {len(known)} {'seed' if len(known) == 1 else 'seeds'}"
    verb = "falls" if near < far else "does not fall"
    return f"{title}: γ {verb} towards the outline: {numbers}, lower near than far {seeds}."


def _mean(curve: Mapping[str, list[Any]], name: str, low: float, high: float) -> float | None:
    """Return the mean of a weight over all pixels of a range of distances."""
    edges = [*curve["edges"], np.inf]
    bins = [
        place
        for place, value in enumerate(curve[name])
        if value is not None and curve["pixels"][place] and edges[place] >= low and edges[place + 1] <= high
    ]
    total = sum(curve["pixels"][place] for place in bins)
    return sum(curve["pixels"][place] * curve[name][place] for place in bins) / total if total else None


def map_galleries(record: BenchmarkRecord, count: int, missing: list[str]) -> list[Gallery]:
    """Return weight maps of the first seed's first training cases, for every condition and row with weights."""
    galleries = []
    for condition, row, tasks in weighted(record):
        task = min(tasks, key=lambda held: held.seed)
        entries = task.weights.get("examples")
        held = [
            maps
            for entry in (entries if isinstance(entries, list) else [])[:count]
            if isinstance(entry, Mapping) and (maps := _read_maps(task, entry, missing)) is not None
        ]
        if not held:
            continue
        still = {
            letter: float(np.mean([maps.weights[letter].mean() for maps in held if letter in maps.weights]))
            / _LEVELS
            for _, letter in _LETTERS
            if not any(letter in maps.weights and np.ptp(maps.weights[letter]) > 1 for maps in held)
            and any(letter in maps.weights for maps in held)
        }
        largest = max((int(w.max()) for maps in held for w in maps.weights.values()), default=0)
        top = 2.0 if largest > _LEVELS + 1 else 1.0
        legend = " ".join(
            [
                MAPS,
                *(f"{letter} is {mean:.2f} everywhere, and so not shown." for letter, mean in still.items()),
            ]
        )
        roles = [
            *_ROLES,
            *(LegendEntry(f"weight {share * top:g}", _tint(share), area=True) for share in (0, 0.5, 1)),
        ]
        galleries.append(
            Gallery(
                "-".join(["maps", *condition_key(condition), _slug(record, row)]),
                f"{row}: {condition.name}, seed {task.seed}",
                [
                    _example(maps, [letter for _, letter in _LETTERS if letter not in still], top)
                    for maps in held
                ],
                legend,
                roles,
                (_bar(), "0", f"{top:g}" + (" and more" if top > 1 else "")),
            )
        )
    return galleries


@dataclass(frozen=True)
class _Maps:
    """What an evaluation kept of a training case: (H, W) each, of weights the gray levels by their letter."""

    name: str
    image: NDArray[np.uint8]
    outlines: list[tuple[Labels, tuple[int, int, int]]]
    weights: dict[str, NDArray[np.uint8]]


def _read_maps(task: TaskRecord, entry: Mapping[str, Any], missing: list[str]) -> _Maps | None:
    if task.folder is None:
        return None
    home = task.folder / "evaluation"
    name = str(entry.get("id", "a case"))
    image = read_gray(home, entry.get("image"), missing)
    if image is None:
        return None
    drawn: list[tuple[Labels, tuple[int, int, int]]] = []
    for kind, tint in (("truth", VERIFIED), ("label", GIVEN)):
        mask = read_gray(home, entry.get(kind), missing) if entry.get(kind) else None
        if mask is not None and mask.shape == image.shape:
            drawn.append(((mask > 0).astype(np.uint8), tint))
    weights = {}
    for kind, letter in _LETTERS:
        values = read_gray(home, entry.get(kind), missing) if entry.get(kind) else None
        if values is not None and values.shape == image.shape:
            weights[letter] = values
    return _Maps(name, image, drawn, weights)


def _example(maps: _Maps, letters: Sequence[str], top: float) -> Example:
    """Return the image with its outlines, and each weight over it with the verified outline."""
    alt = (
        f"training case {maps.name}: the image with the outline given in orange and the verified one in green"
    )
    pictures = [Picture(outlined(maps.image[:, :, None], maps.outlines), alt, "label given")]
    verified = [drawn for drawn in maps.outlines if drawn[1] == VERIFIED]
    names = {letter: kind for kind, letter in _LETTERS}
    for letter in letters:
        if letter in maps.weights:
            values = maps.weights[letter]
            note = f"mean {values.mean() / _LEVELS:.2f}"
            shown = _over(maps.image, values / (_LEVELS * top))
            alt = (
                f"{names[letter]} over training case {maps.name}, with the verified outline in green, {note}"
            )
            pictures.append(Picture(outlined(shown, verified), alt, letter, note))
    return Example(maps.name, "training case", pictures)


def read_gray(home: Path, name: object, missing: list[str]) -> NDArray[np.uint8] | None:
    """Return a gray PNG file below a folder as (H, W); None, with a sentence, where it cannot be read."""
    try:
        file = (home / str(name)).resolve()
        if not file.is_relative_to(home.resolve()):
            raise ValueError("it lies outside the run")
        with Image.open(file, formats=["PNG"]) as picture:
            if picture.width * picture.height > _MOST_PIXELS:
                raise ValueError("it is too large for a page")
            return np.array(picture.convert("L"))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        missing.append(f"{home}: the picture {str(name)!r} cannot be read ({error}).")
        return None


def _over(image: NDArray[np.uint8], shares: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return a map over its image, (H, W, 3), in the colors of the paper's figure 3."""
    colors = matplotlib.colormaps["inferno"](shares.clip(0, 1))[:, :, :3] * 255
    return np.asarray(_SHARE * colors + (1 - _SHARE) * image[:, :, None], np.uint8)


def _tint(share: float) -> tuple[int, int, int]:
    red, green, blue = (round(255 * part) for part in matplotlib.colormaps["inferno"](share)[:3])
    return red, green, blue


def _bar() -> str:
    """Return the scale of colors from 0 to the largest weight, as a link that carries it."""
    colors = matplotlib.colormaps["inferno"](np.linspace(0, 1, 256))[None, :, :3]
    file = io.BytesIO()
    Image.fromarray(np.asarray(colors * 255, np.uint8)).save(file, format="PNG")
    return data_uri(file.getvalue())


def _slug(record: BenchmarkRecord, row: str) -> str:
    """Return a row's part of a file's name: the number makes it unique, so a long name may be cut."""
    return f"{record.rows.index(row)}-{folder_name(row)[:_LONGEST]}"
