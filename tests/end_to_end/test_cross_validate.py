"""Splits and cross-validation by the commands: what is done stays done, also across a kill."""

import json
import subprocess
import time

import pytest
from tests.end_to_end.tools import COMMAND, TINY, cli, contents, done, refused

from metadcseg.data.store.reader import PreparedSet

FOLDS = ("--folds", "3", "--gold", "2", "--rate", "0.2", "--epochs", "1", "--method", "supervised", *TINY)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    out = tmp_path_factory.mktemp("drawn") / "set"
    made = ("--count", "40", "--size", "32", "--val", "0", "--test", "0", "--gold", "1", "--edges", "none")
    done("prepare", "phantom", "--out", out, *made)
    return out


@pytest.fixture(scope="module")
def validated(drawn, tmp_path_factory):
    out = tmp_path_factory.mktemp("folds") / "cv"
    summary = done("cross-validate", drawn, "--out", out, *FOLDS, "--json").json
    return out, summary


def test_every_case_is_tested_once_on_verified_masks(drawn, validated):
    out, summary = validated
    tested = []
    for number in (1, 2, 3):
        fold = PreparedSet.open(out / f"fold-{number}" / "set")
        assert abs(fold.noise["rate"] - 0.2) < 0.011
        record = json.loads((out / f"fold-{number}" / "run" / "evaluation" / "test.json").read_bytes())
        assert record["reference"] == "truth"
        assert record["summary"]["dsc"]["mean"] == summary["per_fold"][number - 1]["dsc"]
        tested += [case.id for case in fold.select("test")]
    assert sorted(tested) == sorted(case.id for case in PreparedSet.open(drawn).cases)
    means = [fold["dsc"] for fold in summary["per_fold"]]
    assert summary["folds"]["dsc"]["mean"] == pytest.approx(sum(means) / 3)


def test_the_same_command_again_does_nothing_anew(drawn, validated):
    out, summary = validated
    before = {name: value for name, value in contents(out).items() if not name.endswith("summary.json")}
    assert done("cross-validate", drawn, "--out", out, *FOLDS, "--json").json == summary
    after = {name: value for name, value in contents(out).items() if not name.endswith("summary.json")}
    assert after == before


def test_other_folds_need_another_place(drawn, validated):
    out, _ = validated
    says = ("another folds", "--out")
    refused("cross-validate", drawn, "--out", out, *FOLDS, "--folds", "4", says=says, alone=False)


def test_folds_go_on_where_edges_alone_round_otherwise(drawn, validated):
    out, summary = validated
    file = out / "folds.json"
    kept = file.read_bytes()
    plan = json.loads(kept)
    file.write_text(json.dumps(plan | {"set": "0" * 64}))
    again = done("cross-validate", drawn, "--out", out, *FOLDS, "--json").json
    assert again["per_fold"] == summary["per_fold"]
    file.write_text(json.dumps(plan | {"set": "0" * 64, "content": "0" * 64}))
    refused("cross-validate", drawn, "--out", out, *FOLDS, says=("another set", "--out"), alone=False)
    file.write_bytes(kept)


def test_a_kill_in_the_middle_loses_no_fold(drawn, validated, tmp_path):
    out = tmp_path / "cv"
    words = [COMMAND, "cross-validate", drawn, "--out", out, *FOLDS]
    process = subprocess.Popen(list(map(str, words)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    done_first = out / "fold-1" / "run" / "evaluation" / "test.json"
    ends = time.monotonic() + 120
    while not done_first.exists() and time.monotonic() < ends and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert done_first.exists()
    first = contents(out / "fold-1")
    summary = done("cross-validate", drawn, "--out", out, *FOLDS, "--json").json
    assert summary["per_fold"] == validated[1]["per_fold"]
    assert contents(out / "fold-1") == first


def test_a_corrupted_set_is_refused(validated, tmp_path):
    noisy = validated[0] / "fold-1" / "set"
    refused("cross-validate", noisy, "--out", tmp_path / "cv", *FOLDS, says=("corrupted already", "--rate"))


def test_split_writes_the_roles_it_tells(drawn, tmp_path):
    told = done(
        "split", drawn, "--out", tmp_path / "new", "--val", "0.2", "--test", "0.2", "--gold", "3", "--json"
    ).json
    made = PreparedSet.open(tmp_path / "new")
    assert {case.id: case.role for case in made.cases} == told["roles"]
    counts = {role: len(made.select(role)) for role in ("train", "gold", "val", "test")}
    assert counts["gold"] == 3
    assert all(4 <= counts[role] <= 10 for role in ("val", "test"))  # whole patients, of up to four images
    groups = {role: {case.group for case in made.select(role)} for role in ("train", "val", "test")}
    assert not groups["train"] & (groups["val"] | groups["test"])
    (tmp_path / "gold.txt").write_text(f"{made.cases[0].id}\n")
    words = (
        "split",
        drawn,
        "--out",
        tmp_path / "named",
        "--test",
        "0",
        "--val",
        "0",
        "--gold",
        tmp_path / "gold.txt",
    )
    assert "39 train, 1 gold" in done(*words).out
    assert PreparedSet.open(tmp_path / "named").cases[0].role == "gold"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--gold", "1.5"), ("--gold must be a number of cases",)),
        (("--gold", "no-such-file.txt"), ("--gold must be", "no-such-file.txt")),
        (("--gold", "slices:0.02"), ("slices of training volumes, and there are none", "such as 0.02")),
        (("--test", "0.9", "--val", "0.2"), ("leave training cases",)),
    ],
)
def test_what_cannot_be_split(words, says, drawn, tmp_path):
    result = cli("split", drawn, "--out", tmp_path / "new", *words)
    assert result.status == 2
    assert all(part in result.complaint for part in says)
    assert not (tmp_path / "new").exists()


def test_several_devices_are_refused_before_anything_is_written(drawn, tmp_path):
    words = ("cross-validate", drawn, "--out", tmp_path / "cv", "--training.devices", "2")
    refused(*words, says=("trains on one device, got training.devices 2", "metadcseg train --data"))
    assert not (tmp_path / "cv").exists()
