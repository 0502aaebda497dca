"""Figure 4: everybody's outline in the order of the rows, of images and of volumes."""

import json

import numpy as np
import pytest
from tests.unit.report.folders import Folder, made_scores, task, write_set

from metadcseg.data.formats.geometry import Grid
from metadcseg.data.formats.volumes import write_label_volume
from metadcseg.data.slicing.cut import SliceOptions, place
from metadcseg.data.store.reader import SetWriter
from metadcseg.report.case_figures import case_galleries, learning_plots, validation_curve
from metadcseg.results.read_benchmark import read_benchmark

GRID = Grid((20, 16, 6), tuple(map(tuple, np.diag([1.0, 1.0, 3.0, 1.0]))))


def write_volumes(folder, names):
    """A set of test volumes whose object is largest in slice 3."""
    options = SliceOptions(axis="z", normalize="none")
    placement = place(GRID, options)
    reference = np.zeros(GRID.shape, np.uint8)
    for number, half in ((2, 2), (3, 5), (4, 3)):
        reference[10 - half : 10 + half, 8 - half : 8 + half, number] = 1
    with SetWriter(
        folder, name="tiny", classes=("background", "organ"), channels=1, preprocessing=options.to_dict()
    ) as writer:
        for name in names:
            writer.add_volume(
                id=name, role="test", group=name, placement=placement, reference=reference, verified=True
            )
            for number in range(GRID.shape[2]):
                plane = reference[:, :, number]
                image = np.random.default_rng(number).random((*plane.shape, 1)).astype(np.float16)
                writer.add(
                    id=f"{name}#{number}", role="test", group=name, image=image, label=plane, volume=name, slice=number
                )  # fmt: skip
    return reference


def test_volumes_show_the_slice_with_most_of_the_object(tmp_path):
    folder = Folder(tmp_path)
    scores = {"first": 0.9, "second": 0.5}
    reference = write_volumes(tmp_path / "sets" / task().data, scores)
    for row in ("noisy + gold", "metadcseg"):
        home = folder.add(task(row=row), scores=scores)
        record = json.loads((home / "evaluation" / "test.json").read_text())
        for name in scores:
            record["predictions"][name] = f"test/{name}.nii.gz"
            write_label_volume(home / "evaluation" / "test" / f"{name}.nii.gz", reference, GRID)
        (home / "evaluation" / "test.json").write_text(json.dumps(record))
    missing = []
    (gallery,) = case_galleries(read_benchmark(folder.write()), 3, missing)
    assert missing == []
    assert [example.id for example in gallery.examples] == ["second", "first"]
    assert gallery.examples[0].rank == "worst; slice 3 of 6, DSC of the whole volume"
    pictures = gallery.examples[0].pictures
    assert [picture.name for picture in pictures] == ["image", "noisy + gold", "metadcseg"]
    assert all(picture.link.startswith("data:image/jpeg") for picture in pictures)
    assert pictures[1].note == "DSC 0.50"


@pytest.mark.parametrize("spoil", ["shape", "gone", "no volume"])
def test_a_predicted_volume_that_cannot_be_shown_is_told(tmp_path, spoil):
    folder = Folder(tmp_path)
    write_volumes(tmp_path / "sets" / task().data, ["one"])
    home = folder.add(task(row="noisy + gold"), scores={"one": 0.5})
    record = json.loads((home / "evaluation" / "test.json").read_text())
    record["predictions"]["one"] = "test/one.nii.gz"
    (home / "evaluation" / "test.json").write_text(json.dumps(record))
    file = home / "evaluation" / "test" / "one.nii.gz"
    if spoil == "shape":
        small = Grid((3, 3, 3), GRID.affine)
        write_label_volume(file, np.zeros(small.shape, np.uint8), small)
    elif spoil == "no volume":
        file.write_text("x")
    missing = []
    (gallery,) = case_galleries(read_benchmark(folder.write()), 1, missing)
    assert len(missing) == 1
    assert gallery.examples[0].pictures[1].link == ""


def test_cases_are_ranked_by_the_baseline_and_rows_keep_their_order(tmp_path):
    folder = Folder(tmp_path)
    names = ("a", "b", "c")
    prepared = write_set(tmp_path / "sets" / task().data, names)
    masks = {case.id: prepared.truth(case) * 255 for case in prepared.select("test")}
    by_row = {
        "noisy only": dict(zip(names, (0.9, 0.8, 0.7), strict=True)),
        "noisy + gold": dict(zip(names, (0.2, 0.3, 0.4), strict=True)),
        "metadcseg": dict(zip(names, (0.5, 0.4, 0.6), strict=True)),
    }
    for row, scores in by_row.items():
        for seed in (1, 0):
            shifted = {case: value + 0.01 * seed for case, value in scores.items()}
            folder.add(task(row=row, seed=seed), scores=shifted, masks=masks)
    (gallery,) = case_galleries(read_benchmark(folder.write()), 2, [])
    assert [example.id for example in gallery.examples] == ["a", "c"]
    assert [picture.name for picture in gallery.examples[0].pictures] == ["image", *by_row]
    assert [picture.note for picture in gallery.examples[0].pictures] == [
        "",
        "DSC 0.90",
        "DSC 0.20",
        "DSC 0.50",
    ]
    assert "seed 0" in gallery.title
    assert "'noisy + gold'" in gallery.legend


def test_sets_that_are_gone_or_damaged_are_told(tmp_path):
    folder = Folder(tmp_path)
    folder.add(task(), scores=made_scores(0.5))
    missing = []
    assert case_galleries(read_benchmark(folder.write()), 2, missing) == []
    assert missing == ["la, paper 40 %: its set is not in the benchmark's folder, so no case is shown."]
    write_set(tmp_path / "sets" / task().data)
    (tmp_path / "sets" / task().data / "cases.jsonl").write_text("{")
    missing = []
    assert case_galleries(read_benchmark(folder.write()), 2, missing) == []
    assert "cases.jsonl" in missing[0]


def test_learning_curves_are_means_over_seeds(tmp_path):
    folder = Folder(tmp_path)
    for seed in (0, 1):
        home = folder.add(task(seed=seed), scores=made_scores(0.5))
        lines = [
            {"kind": "epoch", "epoch": n, "train": {}, "val": {"dsc": 0.1 * n + 0.2 * seed}}
            for n in range(2 + seed)
        ]
        (home / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    record = read_benchmark(folder.write())
    (plot,) = learning_plots(record)
    assert plot.alt.endswith("for metadcseg")
    held = validation_curve(record.done())
    assert held == {1: pytest.approx(0.1), 2: pytest.approx(0.2), 3: pytest.approx(0.4)}
