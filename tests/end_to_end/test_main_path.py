"""From nothing to a trained, evaluated network and masks of new images, by the commands alone."""

import csv
import json
from statistics import fmean, stdev

import numpy as np
import pytest
import yaml
from tests.end_to_end.tools import cli, contents, done, gradient, pixels, save, train

from metadcseg.data.store.reader import PreparedSet
from metadcseg.training import load_run, read_run

VARIANTS = {
    "calibrated": [],
    "calibrated by pairs and network from the first epoch": ["--calibrated.warmup", "0"],
    "calibrated without pairs": [
        "--calibrated.pairs",
        "false",
        "--calibrated.warmup",
        "0",
        "--calibrated.stand_in",
        "2",
    ],
    "calibrated without boundaries": ["--calibrated.dcd", "false"],
    "binned": ["--method", "binned"],
    "binned without boundaries": ["--method", "binned", "--binned.dcd", "false"],
    "binned without learned weights": ["--method", "binned", "--binned.meta", "false"],
    "metadcseg": ["--method", "metadcseg", "--metadcseg.warmup", "0"],
    "l2b": ["--method", "l2b"],
    "glc": ["--method", "glc"],
    "pairs": ["--method", "pairs"],
    "noisy only": ["--method", "supervised"],
    "noisy and gold": ["--method", "supervised", "--supervised.gold", "mixed"],
    "clean": ["--method", "supervised", "--supervised.labels", "clean"],
}


def test_prepare_says_what_it_wrote(sets):
    assert sets.prepared["cases"] == {"train": 12, "gold": 5, "val": 2, "test": 5}
    assert sets.prepared["classes"] == ["background", "foreground"]
    opened = PreparedSet.open(sets.clean)
    case = opened.select("train")[0]
    assert opened.image(case).shape == (32, 32, 1)
    assert set(np.unique(opened.label(case))) == {0, 1}


def test_corruption_reaches_its_rate_and_touches_training_labels_alone(sets):
    assert abs(sets.corrupted["rate"] - 0.4) < 0.01
    assert "draws" not in sets.corrupted
    clean, noisy = PreparedSet.open(sets.clean), PreparedSet.open(sets.noisy)
    changed = {
        case.role for case in noisy.cases if (noisy.label(case) != clean.label(clean.cases[case.row])).any()
    }
    assert changed == {"train"}
    assert all((noisy.truth(case) == clean.label(clean.cases[case.row])).all() for case in noisy.cases)


def test_check_finds_nothing_wrong(sets):
    for path in (sets.clean, sets.noisy):
        report = done("check", path, "--json").json
        assert report["ok"]
        assert report["counts"]["error"] == 0
        assert report["cases"] == sets.prepared["cases"]
    assert "ready" in done("check", sets.noisy).out


@pytest.mark.parametrize("words", VARIANTS.values(), ids=VARIANTS.keys())
def test_every_method_trains_and_is_evaluated(sets, tmp_path, words):
    folder = tmp_path / "run"
    trained = done(*train(sets.noisy, folder, *words, "--seed", 3))
    assert trained.out == ""  # progress and news go to standard error
    result = done("evaluate", folder, "--json")
    record = result.json
    for metric in ("dsc", "iou", "hd", "hd95", "nsd"):
        summary = record["summary"][metric]
        assert summary["n"] == 5
        assert np.isfinite([summary["mean"], summary["sd"]]).all()
    assert 0 <= record["summary"]["iou"]["mean"] <= record["summary"]["dsc"]["mean"] <= 1
    assert record["empty_predictions"] in range(6)
    assert record["method"] == (words[1] if words[:1] == ["--method"] else "calibrated")
    assert (record["seed"], record["split"], record["reference"]) == (3, "test", "truth")
    assert record["noise"]["target"] == 0.4
    assert record["noise"]["rate"] == sets.corrupted["rate"]
    assert "draws" not in record["noise"]


def test_a_run_leaves_what_is_documented(run):
    files = contents(run)
    names = {"run.json", "config.yaml", "metrics.jsonl", "model.safetensors", "checkpoints/last.pt"}
    names |= {
        "checkpoints/previous.pt",
        "figures/epoch_002.png",
        "evaluation/test.json",
        "evaluation/test.csv",
    }
    assert names <= files.keys()
    assert any(name.startswith("tensorboard/events") for name in files)
    assert not [name for name in files if name.endswith(".tmp")]
    info = read_run(run)
    assert (info["status"], info["epochs_done"], info["method"]) == ("finished", 2, "calibrated")
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [0, 1]
    assert pixels(run / "figures/epoch_002.png").std() > 0


def test_evaluation_files_say_what_standard_output_says(run):
    printed = done("evaluate", run, "--json").json
    assert json.loads((run / "evaluation" / "test.json").read_text()) == printed
    with (run / "evaluation" / "test.csv").open() as file:
        rows = list(csv.DictReader(file))
    scores = [float(row["dsc"]) for row in rows]
    assert len(scores) == printed["summary"]["dsc"]["n"] == 5
    assert fmean(scores) == pytest.approx(printed["summary"]["dsc"]["mean"])
    assert stdev(scores) == pytest.approx(printed["summary"]["dsc"]["sd"])
    for name in printed["predictions"].values():
        assert set(np.unique(pixels(run / "evaluation" / name))) <= {0, 255}


def test_evaluate_other_splits_and_sets(run, sets):
    record = done("evaluate", run, "--split", "val", "--data", sets.clean, "--json").json
    assert record["summary"]["dsc"]["n"] == 2
    assert len(record["notes"]) == 2  # chosen by these cases; another set than trained on
    assert (run / "evaluation" / "val.csv").is_file()
    table = done("evaluate", run, "--split", "val").out
    assert "DSC" in table
    assert f"{record['summary']['dsc']['mean']:.3f}" in table


def test_predict_new_images_of_any_size_and_format(run, tmp_path):
    new, out = tmp_path / "new", tmp_path / "masks"
    files = {
        save(new / "gray.png", gradient(40, 28)): (40, 28),
        save(new / "color.jpg", gradient(33, 50, 3)): (33, 50),
        save(new / "deep.tif", gradient(61, 20, scale=200, dtype=np.uint16)): (61, 20),
        save(new / "tiny.png", gradient(7, 9, 3)): (7, 9),
    }
    result = done("predict", run, new, "--out", out, "--overlays")
    assert result.out.startswith("4 masks in ")
    assert len(list(out.glob("*.png"))) == 4
    for file, size in files.items():
        mask = pixels(out / f"{file.stem}.png")
        assert mask.shape == size
        assert mask.dtype == np.uint8
        assert set(np.unique(mask)) <= {0, 255}
        drawn = pixels(out / "overlays" / f"{file.stem}.png")  # the legend is below
        assert drawn.shape[0] > size[0]
        assert drawn.shape[1] >= size[1]
    alone = tmp_path / "alone"
    done("predict", run, new / "gray.png", "--out", alone)
    assert (alone / "gray.png").read_bytes() == (out / "gray.png").read_bytes()


def test_training_learns(sets, tmp_path):
    """Scores that a network which learns nothing, or answers with one class, does not reach."""
    folder = tmp_path / "run"
    words = ("--method", "supervised", "--supervised.labels", "clean", "--network.width", "4")
    done(*train(sets.noisy, folder, *words, "--training.clip", "2", "--training.ema_decay", "0.8", epochs=20))
    record = done("evaluate", folder, "--json").json
    cases = PreparedSet.open(sets.clean).select("test")
    masks = [PreparedSet.open(sets.clean).label(case) for case in cases]
    everything = fmean(2 * mask.mean() / (mask.mean() + 1) for mask in masks)  # DSC of "all is foreground"
    assert record["summary"]["dsc"]["mean"] > everything + 0.2
    assert record["empty_predictions"] == 0


def test_three_classes(tmp_path):
    clean, noisy, folder = tmp_path / "clean", tmp_path / "noisy", tmp_path / "run"
    words = ("--count", 24, "--size", 32, "--gold", 5, "--classes", 3)
    assert len(done("prepare", "phantom", *words, "--out", clean, "--json").json["classes"]) == 3
    noise = done("corrupt", clean, "--rate", 0.4, "--out", noisy, "--json").json
    assert noise["per_class"].keys() == {"class 1", "class 2"}
    done(*train(noisy, folder))
    record = done("evaluate", folder, "--json").json
    assert record["per_class"].keys() == {"class 1", "class 2"}
    assert record["mask_values"] == {"background": 0, "class 1": 1, "class 2": 2}
    save(tmp_path / "new" / "a.png", gradient(40, 30))
    done("predict", folder, tmp_path / "new", "--out", tmp_path / "masks")
    assert pixels(tmp_path / "masks" / "a.png").shape == (40, 30)
    assert set(np.unique(pixels(tmp_path / "masks" / "a.png"))) <= {0, 1, 2}


def test_nested_options_reach_the_record_of_the_run(sets, tmp_path):
    words = ("--training.lr", "0.02", "--network.width", "3", "--calibrated.temperature", "7", "--seed", 5)
    done(*train(sets.noisy, tmp_path / "run", *words, "--training.augment.flip=false"))
    info = read_run(tmp_path / "run")
    assert (info["training"]["lr"], info["network"]["width"], info["options"]["temperature"]) == (0.02, 3, 7)
    assert info["training"]["augment"] == {
        "flip": False,
        "rotation": 10.0,
        "zoom": [1, 3],
        "intensity": False,
    }
    assert info["seed"] == 5


def test_a_file_means_the_same_as_the_command_line_and_is_outweighed_by_it(sets, tmp_path):
    options = {
        "method": "metadcseg",
        "training": {"lr": 0.02, "epochs": 1, "augment": {"rotation": 5}},
        "metadcseg": {"eta": 0.07, "warmup": 0},
    }
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump(options))
    words = (
        "--training.lr",
        "0.02",
        "--training.augment.rotation",
        "5",
        "--method",
        "metadcseg",
        "--metadcseg.eta",
        "0.07",
    )
    by_file, by_words, again = tmp_path / "file", tmp_path / "words", tmp_path / "again"
    plain = tmp_path / "plain.yaml"
    plain.write_text("training: {epochs: 1}")  # the rest by default, and not chosen by auto
    start = ("train", "--data", sets.noisy, "--config", plain, *TINY_WITHOUT_LR)
    done(*start, "--out", by_file, "--config", file)
    done(*start, "--out", by_words, *words, "--metadcseg.warmup", "0", "--epochs", "1")
    assert same_run(by_file, by_words)
    done("train", "--data", sets.noisy, "--out", again, "--config", by_file / "config.yaml")
    assert same_run(by_file, again)
    other = tmp_path / "other"
    done(*start, "--training.lr", "0.03", "--config", file, "--out", other)  # wherever the file stands
    assert read_run(other)["training"]["lr"] == 0.03
    assert not same_run(by_file, other)


TINY_WITHOUT_LR = (
    *("--network.width", "2", "--training.size", "32", "--training.threads", "1", "--training.warmup", "0"),
    *("--training.figure_every", "0", "--training.augment.zoom", "[1,3]", "--training.accelerator", "cpu"),
)


def same_run(one, two):
    infos = [read_run(folder) for folder in (one, two)]
    same_options = all(infos[0][key] == infos[1][key] for key in ("method", "options", "network", "training"))
    weights = [load_run(folder).network.state_dict() for folder in (one, two)]
    return same_options and all((value == weights[1][name]).all() for name, value in weights[0].items())


def test_results_of_a_command_are_alone_on_standard_output(run, sets, tmp_path):
    for words in (
        ("prepare", "phantom", "--count", 16, "--size", 16, "--out", tmp_path / "set", "--json"),
        ("check", sets.noisy, "--json"),
        ("corrupt", sets.clean, "--rate", 0.2, "--out", tmp_path / "noisy", "--json"),
        ("evaluate", run, "--json"),
    ):
        result = cli(*words)
        assert isinstance(result.json, dict)
        assert result.out.startswith("{")
        assert result.out.endswith("}\n")
