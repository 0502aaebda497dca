"""A first training without a word about size, width or epochs, and its continuation without a word at all."""

import shutil

import numpy as np
import pytest
import yaml
from tests.end_to_end.tools import contents, done, refused

from metadcseg.cli import auto
from metadcseg.data.splits.folds import fold_roles, units_of
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.training import load_run, read_run

QUICK = ("--network.width", "2", "--epochs", "1", "--training.threads", "1", "--training.accelerator", "cpu")


@pytest.fixture(scope="module")
def first(sets, tmp_path_factory):
    """A run of which size, batch and all else were chosen, and what was said."""
    folder = tmp_path_factory.mktemp("auto") / "run"
    return folder, done("train", "--data", sets.noisy, "--out", folder, *QUICK).err


@pytest.fixture
def run(first, tmp_path):
    return shutil.copytree(first[0], tmp_path / "run")


def same_weights(one, two):
    first, second = (load_run(folder).network.state_dict() for folder in (one, two))
    return all((value == second[name]).all() for name, value in first.items())


def test_what_was_chosen_is_said_in_one_line_before_training_starts(first):
    lines = first[1].splitlines()
    assert lines[0].startswith("auto: 32 px (objects of ")
    assert (
        "width 2, batch 8, 1 epoch: under a minute on this CPU (1 thread); change with --training.size"
        in lines[0]
    )
    assert "12 training cases" in lines[1]
    assert sum("auto:" in line for line in lines) == 1


def test_what_was_chosen_is_written_down_as_ordinary_values(first):
    config = yaml.safe_load((first[0] / "config.yaml").read_text())
    chosen = {
        name: config["training"][name] for name in ("size", "batch", "gold_batch", "epochs", "warmup", "clip")
    }
    assert chosen == {"size": 32, "batch": 8, "gold_batch": 8, "epochs": 1, "warmup": 0, "clip": 2.0}
    assert config["training"] == read_run(first[0])["training"]


def test_resume_needs_the_run_and_nothing_else_and_chooses_nothing_anew(run, sets, tmp_path, monkeypatch):
    monkeypatch.setattr(auto, "choose", None)  # would fail
    kept = contents(run)
    assert "is finished" in done("train", "--resume", run).err
    assert contents(run) == kept
    done("train", "--resume", run, "--epochs", 2)
    assert read_run(run)["epochs_done"] == 2
    straight = (
        "train",
        "--data",
        sets.noisy,
        "--config",
        run / "config.yaml",
        "--out",
        tmp_path / "straight",
    )
    done(*straight)
    assert same_weights(run, tmp_path / "straight")


def test_the_flag_without_a_value_goes_on_in_out_or_begins(run, sets, tmp_path, monkeypatch):
    begin = ("train", "--data", sets.noisy, "--out")
    monkeypatch.setattr(auto, "choose", None)
    done(*begin, run, "--resume", "--epochs", 2)
    assert read_run(run)["epochs_done"] == 2
    monkeypatch.undo()
    done(*begin, tmp_path / "new", *QUICK, "--resume")
    assert read_run(tmp_path / "new")["epochs_done"] == 1


def test_method_seed_and_label_come_from_the_run(sets, tmp_path):
    run = tmp_path / "run"
    words = ("--method", "supervised", "--supervised.gold", "mixed", "--seed", 3, "--label", "mine")
    done("train", "--data", sets.noisy, "--out", run, *QUICK, *words)
    done("train", "--resume", run, "--epochs", 2)
    info = read_run(run)
    assert (info["method"], info["options"]["gold"], info["seed"], info["label"]) == (
        "supervised",
        "mixed",
        3,
        "mine",
    )
    assert info["epochs_done"] == 2


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--seed", "1"), "seed: 0 there, 1 now"),
        (("--method", "supervised"), "method: calibrated there, supervised now"),
        (("--network.width", "4"), "network.width: 2 there, 4 now"),
        (("--config", "small"), "training.size: 32 there, 96 now"),
        (("--out", "elsewhere"), "--out elsewhere name two folders: leave --out out"),
    ],
)
def test_what_is_said_otherwise_is_refused(run, words, says):
    kept = contents(run)
    refused("train", "--resume", run, *words, says=[run, says])
    assert contents(run) == kept


def test_a_set_that_has_moved_is_named(sets, tmp_path):
    prepared, moved, run = tmp_path / "set", tmp_path / "moved", tmp_path / "run"
    shutil.copytree(sets.noisy, prepared)
    done("train", "--data", prepared, "--out", run, *QUICK)
    prepared.rename(moved)
    refused(
        "train",
        "--resume",
        run,
        "--epochs",
        2,
        says=[f"the set that {run} was trained on", prepared, "add --data"],
    )
    done("train", "--resume", run, "--data", moved, "--epochs", 2)
    assert read_run(run)["epochs_done"] == 2


def test_no_run_to_go_on_with(tmp_path):
    refused("train", "--resume", tmp_path / "nothing", says=["is not the folder of a run"])
    refused("train", "--resume", says=["--data and --out must be given"])


def test_a_preset_or_file_replaces_what_would_be_chosen(sets, tmp_path, monkeypatch):
    monkeypatch.setattr(auto, "choose", None)
    file = tmp_path / "mine.yaml"
    file.write_text("training: {size: 48}")
    done("train", "--data", sets.noisy, "--out", tmp_path / "run", "--config", file, *QUICK)
    training = read_run(tmp_path / "run")["training"]
    assert (training["size"], training["clip"]) == (48, 0.2)  # the rest by default


def test_auto_beneath_a_file_of_ones_own(sets, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text("training: {size: 48}")
    words = ("--config", "auto", "--config", file)
    done("train", "--data", sets.noisy, "--out", tmp_path / "run", *words, *QUICK)
    training = read_run(tmp_path / "run")["training"]
    assert (training["size"], training["clip"]) == (48, 2.0)


ALONE = (
    "the mask that its verified one replaced, so what the network draws on gold images stands in for it "
    "(--calibrated.pairs false)"
)


def with_pairs(sets, folder, count):
    """A copy of the noisy set of which so many gold cases still have the mask that theirs replaced."""
    prepared = PreparedSet.open(sets.noisy)
    about = {"name": "few", "classes": prepared.classes, "channels": prepared.channels}
    with SetWriter(folder / "few", **about) as writer:
        for case in prepared.cases:
            held = case.role == "gold" and count > 0
            count -= held
            writer.add(
                id=case.id,
                role=case.role,
                group=case.group,
                image=prepared.image(case),
                label=prepared.label(case),
                given=prepared.given(case) if held else None,
            )
    return folder / "few"


@pytest.mark.parametrize(("count", "held"), [(0, "no gold case has"), (1, "only one gold case has")])
def test_where_pairs_are_too_few_trust_comes_from_gold_alone_and_one_line_says_so(
    sets, tmp_path, count, held
):
    few, run = with_pairs(sets, tmp_path, count), tmp_path / "run"
    told = done("train", "--data", few, "--out", run, *QUICK).err
    assert told.count(f"{held} {ALONE}\n") == 1
    assert "warning" not in told
    assert read_run(run)["options"]["pairs"] is False
    assert read_run(run)["fitted"] == ["pairs"]
    if count:
        told = done("train", "--resume", run, "--epochs", 2).err
        assert ALONE not in told  # it is the run's own setting now
        assert read_run(run)["options"]["pairs"] is False
        assert read_run(run)["fitted"] == ["pairs"]


def test_of_one_gold_case_nothing_is_chosen_and_one_thing_is_said(sets, tmp_path):
    done("split", sets.clean, "--keep", "--gold", 1, "--out", tmp_path / "one")
    told = done("train", "--data", tmp_path / "one", "--out", tmp_path / "run", *QUICK).err
    assert ALONE not in told
    assert told.count("warning: ") == 1
    assert "warm-up" not in told
    assert read_run(tmp_path / "run")["options"]["pairs"] is True


def test_enough_pairs_are_used_and_what_is_said_of_them_stays(sets, tmp_path):
    two, none = with_pairs(sets, tmp_path, 2), with_pairs(sets, tmp_path / "none", 0)
    told = done("train", "--data", two, "--out", tmp_path / "two", *QUICK).err
    assert ALONE not in told
    assert "5 gold (2 with the mask that it replaced)" in told
    assert read_run(tmp_path / "two")["options"]["pairs"] is True
    assert "fitted" not in read_run(tmp_path / "two")
    insisted = (*QUICK, "--calibrated.pairs", "true")
    told = done("train", "--data", none, "--out", tmp_path / "insisted", *insisted).err
    assert ALONE not in told
    assert "calibrated trusts every label" in told
    assert read_run(tmp_path / "insisted")["options"]["pairs"] is True


def test_folds_share_what_was_chosen_and_each_goes_by_its_own_pairs(sets, tmp_path, monkeypatch):
    """The gold of one fold has no pair, that of the other has two; also where the first fold is done already."""
    clean = PreparedSet.open(sets.clean)
    roles = fold_roles(units_of(clean), 2, seed=0, val=0.1, gold=4)
    gold = [{case for case, role in fold.items() if role == "gold"} for fold in roles]
    paired = sorted(gold[1] - gold[0])[:2]
    assert len(paired) == 2
    about = {"name": "some", "classes": clean.classes, "channels": clean.channels}
    with SetWriter(tmp_path / "some", **about) as writer:
        for case in clean.cases:
            label = clean.label(case)
            truth, given = (label, np.roll(label, 2, axis=0)) if case.id in paired else (None, None)
            writer.add(
                id=case.id,
                role="val" if case.id in paired else "train",
                group=case.group,
                image=clean.image(case),
                label=label,
                truth=truth,
                given=given,
            )
    named = tmp_path / "gold.txt"
    named.write_text("\n".join(sorted(gold[0] | gold[1])))
    words = (
        "cross-validate",
        tmp_path / "some",
        "--folds",
        2,
        "--out",
        tmp_path / "cv",
        "--gold",
        named,
        *QUICK,
    )
    told = done(*words).err
    assert "were never verified: the mask as given counts as verified now" in told
    assert told.count(ALONE) == 1
    assert told.count("auto: 32 px") == 1

    def folds():
        runs = [read_run(tmp_path / "cv" / f"fold-{number}" / "run") for number in (1, 2)]
        assert runs[0]["training"] == runs[1]["training"]
        assert runs[0]["training"]["clip"] == 2.0
        return [run["options"]["pairs"] for run in runs]

    assert folds() == [False, True]
    monkeypatch.setattr(auto, "choose", None)
    shutil.rmtree(tmp_path / "cv" / "fold-2" / "run")
    done(*words)
    assert folds() == [False, True]
