import json
import shlex

import numpy as np
import pytest
from tests.unit.data.folders import make_folder, save

from metadcseg.cli.commands.prepare_sources import GROUPS
from metadcseg.cli.main import main
from metadcseg.data.prepare.pipeline import prepare_cases
from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.synthetic.phantom import PhantomOptions, phantom_cases


def roles(path):
    opened = PreparedSet.open(path)
    return {role: len(opened.select(role)) for role in ("train", "gold", "val", "test")}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([], {"train": 24, "gold": 2, "val": 4, "test": 10}),
        (["--gold", "7"], {"train": 19, "gold": 7, "val": 4, "test": 10}),
        (["--gold", "0.1"], {"train": 22, "gold": 4, "val": 4, "test": 10}),
        (["--gold", "0"], {"train": 26, "gold": 0, "val": 4, "test": 10}),
        (["--val", "0.25", "--test", "0"], {"train": 28, "gold": 2, "val": 10, "test": 0}),
    ],
)
def test_roles_of_phantoms(tmp_path, words, expected):
    size = ["--size", "16", "--count", "50" if not words else "40", "--out", str(tmp_path / "set")]
    expected = expected if words else {"train": 33, "gold": 2, "val": 5, "test": 10}
    if words and "--test" not in words:
        expected = {**expected, "train": expected["train"] + 2, "test": 8}
    assert main(["prepare", "phantom", *size, *words]) == 0
    assert roles(tmp_path / "set") == expected


def test_phantoms_by_default_are_those_of_the_library(tmp_path, capsys):
    words = ["--count", "20", "--size", "16", "--seed", "3", "--out", str(tmp_path / "one")]
    assert main(["prepare", "phantom", *words]) == 0
    drawn = PhantomOptions(count=20, size=16, seed=3)
    prepare_cases(phantom_cases(drawn), tmp_path / "two", name="phantom")
    one, two = PreparedSet.open(tmp_path / "one"), PreparedSet.open(tmp_path / "two")
    assert [(case.id, case.role) for case in one.cases] == [(case.id, case.role) for case in two.cases]
    assert all((one.image(case) == two.image(two.cases[case.row])).all() for case in one.cases)
    assert one.source["seed"] == 3


def test_seed_and_name(tmp_path):
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        words = ["--count", "10", "--size", "16", "--seed", seed, "--name", "mine"]
        assert main(["prepare", "phantom", *words, "--out", str(tmp_path / name)]) == 0
    a, b, c = (PreparedSet.open(tmp_path / name) for name in "abc")
    assert a.name == "mine"
    assert a.fingerprint == b.fingerprint != c.fingerprint


def test_findings_are_told_beside_the_result(tmp_path, capsys):
    words = ["prepare", "phantom", "--count", "10", "--size", "16", "--gold", "1"]
    assert main([*words, "--out", str(tmp_path / "a"), "--json"]) == 0
    out, err = capsys.readouterr()
    assert err.startswith("warning: only 1 case of role gold")
    assert json.loads(out)["findings"][0]["code"] == "gold-tiny"
    assert main([*words, "--out", str(tmp_path / "b")]) == 0
    out, _ = capsys.readouterr()
    assert out.startswith(
        f"{tmp_path / 'b'}: 6 train, 1 gold, 1 val, 2 test; classes background, foreground;"
    )
    assert len(out.splitlines()) == 1


def test_the_command_that_names_every_finding_sees_what_prepare_saw(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "400")
    folder = make_folder(tmp_path / "my masks", count=12)
    for number in range(12):
        mask = np.full((20, 24), 7 * (number > 4), np.uint8)
        mask[:9] = 0
        save(folder / "masks" / f"case{number:02d}.png", mask)
    assert (
        main(["prepare", str(folder), "--remap", "7:1", "--seed", "3", "--out", str(tmp_path / "set")]) == 0
    )
    line = next(
        line for line in capsys.readouterr().err.splitlines() if line.startswith("every file and case: ")
    )
    words = shlex.split(line.removeprefix("every file and case: metadcseg "))
    assert words == ["check", str(folder), "--remap", "7:1", "--seed", "3", "--json"]
    assert main(words) == 0
    codes = [finding["code"] for finding in json.loads(capsys.readouterr().out)["findings"]]
    assert codes.count("mask-empty") == 5


def test_a_new_split_of_a_folder_keeps_verified_masks_and_pairs(tmp_path, capsys):
    make_folder(tmp_path / "mine", count=20, gold=6)
    words = ["--out", str(tmp_path / "set"), "--edges", "none"]
    assert main(["prepare", str(tmp_path / "mine"), *words]) == 0
    verified = {f"case{number:02d}" for number in range(6)}

    def split(*more):
        out = tmp_path / f"new-{'-'.join(more)}".replace("/", "_")
        status = main(["split", str(tmp_path / "set"), "--out", str(out), *more])
        return status, (PreparedSet.open(out) if out.exists() else None), capsys.readouterr().err

    status, made, said = split("--seed", "4")
    gold = {case.id for case in made.select("gold")}
    assert status == 0
    assert len(gold) >= 4
    assert gold == verified & {case.id for case in (*made.select("train"), *made.select("gold"))}
    assert all(case.has_given for case in made.select("gold"))
    assert made.source["split"]["gold"] == "verified"
    _, made, said = split("--keep", "--gold", "2")
    assert {case.id for case in made.select("gold")} < verified
    assert not said
    status, made, said = split("--keep", "--gold", "0.9")
    assert (status, made) == (2, None)
    assert "pass --gold verified, or a file of the ids" in said
    (tmp_path / "ids.txt").write_text("case00\ncase09\n")
    _, made, said = split("--keep", "--gold", str(tmp_path / "ids.txt"))
    assert "1 gold case (case09) was never verified" in said


def test_gold_masks_are_not_corrupted(tmp_path, capsys):
    main(["prepare", "phantom", "--count", "10", "--size", "16", "--out", str(tmp_path / "set")])
    words = [
        "corrupt",
        str(tmp_path / "set"),
        "--rate",
        "0.3",
        "--roles",
        "train,gold",
        "--out",
        str(tmp_path / "b"),
    ]
    assert main(words) == 2
    assert "--roles gold would spoil verified masks" in capsys.readouterr().err
    assert not (tmp_path / "b").exists()


def test_options_that_do_not_belong(tmp_path, capsys):
    out = ["--out", str(tmp_path / "set")]
    for what, option in (
        ("phantom", ["--source", "x"]),
        ("phantom", ["--remap", "1:1"]),
        ("phantom", ["--limit", "3"]),
        ("kvasir-seg", ["--remap", "1:1", "--source", "x"]),
        ("kvasir-seg", ["--count", "3", "--source", "x"]),
        ("mine", ["--source", "x"]),
        ("mine", ["--gold", "3"]),
        ("mine", ["--count", "3"]),
        ("mine", ["--size", "96"]),
        ("mine", ["--classes", "3"]),
        ("mine", ["--axis", "x"]),
        ("mine", ["--resample-labels"]),
        ("mine", ["--labels", "scribble"]),
        ("msd", ["--count", "3", "--source", "x"]),
        ("acdc", ["--image", "{case}.h5", "--source", "x"]),
        ("patterns", ["--labels", "scribble", "--source", "x"]),
        ("nnunet", ["--spacing", "1", "--source", "x"]),
    ):
        assert main(["prepare", what, *option, *out]) == 2
        err = capsys.readouterr().err
        assert err == f"metadcseg: {option[0]} does not belong to 'prepare {what}': leave it out\n"
    assert not (tmp_path / "set").exists()


def test_every_group_of_options_belongs_to_something(capsys):
    assert main(["prepare", "--help-all"]) == 0
    shown = capsys.readouterr().out
    assert [title for title in GROUPS if f"\n{title}:\n" not in shown] == [
        "gold",
        "limit",
        "images",
    ]  # needed first
    for name in (name for names in GROUPS.values() for name in names):
        assert f"--{name.replace('_', '-')} " in shown or f"--{name} " in shown


def test_workers_write_the_same_set(tmp_path, capsys):
    words = ["prepare", str(make_folder(tmp_path / "mine")), "--edges", "none", "--out"]
    for out, workers in (("one", "1"), ("two", "2")):
        assert main([*words, str(tmp_path / out), "--workers", workers]) == 0
    sums = [(tmp_path / out / "SHA256SUMS").read_bytes() for out in ("one", "two")]
    assert sums[0] == sums[1]
    capsys.readouterr()
    assert main([*words, str(tmp_path / "none"), "--workers", "0"]) == 2
    assert "--workers must be a number of processes from 1 to" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "none"), "--workers", "100000"]) == 2
    assert "got 100000" in capsys.readouterr().err
