"""Whatever is wrong is answered by one sentence and exit status 2, and earlier work stays as it was."""

import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest
from tests.advice import advice_can_be_typed  # noqa: F401 (holds for every test here)
from tests.end_to_end.tools import (
    chunk,
    cli,
    contents,
    done,
    first_id,
    flip_a_byte,
    gradient,
    refused,
    save,
    train,
)
from tests.full_disk import full_disk
from tests.unit.data.folders import disc, make_folder, picture

from metadcseg.data.store.reader import PreparedSet
from metadcseg.training import load_run, read_run


def no_masks(folder):
    shutil.rmtree(folder / "masks")
    return "no-masks", ["masks holds no mask files"]


def missing_mask(folder):
    (folder / "masks" / "case03.png").unlink()
    return "mask-missing", ["case03.png has no mask", "add "]


def truncated_image(folder):
    path = folder / "images" / "case03.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return "image-unreadable", ["case03.png is damaged", "truncated", "export it again"]


def truncated_mask(folder):
    path = folder / "masks" / "case03.png"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    return "mask-unreadable", ["masks/case03.png is damaged", "export it again"]


def other_size(folder):
    save(folder / "masks" / "case03.png", disc(10, 12))
    return "size-mismatch", [
        "case03.png has 10 x 12",
        "case03.png 20 x 24",
        "export it at the size of the image",
    ]


def color_mask(folder):
    save(folder / "masks" / "case03.png", picture(3))
    return "mask-unreadable", ["masks/case03.png is in color", "save it as a gray PNG"]


def deep_mask(folder):
    codes = disc(dtype=np.uint16, value=7)
    codes[:3] = 900
    save(folder / "masks" / "case03.png", codes)
    return "label-unexpected", ["case03.png holds the unexpected values 7, 900", "try --remap "]


def empty_gold(folder):
    (folder / "gold").mkdir()
    return "gold-empty", ["gold is empty", "put verified masks"]


def empty_gold_list(folder):
    (folder / "gold.txt").write_text("\n")
    return "gold-empty", ["gold.txt is empty", "put verified masks"]


def split_patient(folder):
    rows = [f"case{number:02d},{'test' if number == 1 else 'train'},P{number // 2}" for number in range(12)]
    (folder / "splits.csv").write_text("\n".join(["id,role,group", *rows]))
    return "group-split", ["splits.csv, line 3", "group 'P0'", "give all its cases one role"]


BROKEN = [no_masks, missing_mask, truncated_image, truncated_mask, other_size, color_mask, deep_mask]
BROKEN += [empty_gold, empty_gold_list, split_patient]


@pytest.mark.parametrize("spoil", BROKEN, ids=[spoil.__name__ for spoil in BROKEN])
def test_a_folder_with_something_wrong(tmp_path, spoil):
    folder = make_folder(tmp_path / "mine")
    done("prepare", folder, "--out", tmp_path / "before")
    code, says = spoil(folder)
    spoilt, earlier = contents(folder), contents(tmp_path / "before")
    refused("prepare", folder, "--out", tmp_path / "set", says=says)
    refused("prepare", folder, "--out", tmp_path / "before", says=["before already holds"])
    checked = cli("check", folder, "--json")
    assert checked.status == 2
    assert checked.err == ""
    found = [finding for finding in checked.json["findings"] if finding["severity"] == "error"]
    assert code in {finding["code"] for finding in found}
    assert all(part in " ".join(finding["sentence"] for finding in found) for part in says)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["before", "mine"]  # nothing half-written
    assert contents(folder) == spoilt
    assert contents(tmp_path / "before") == earlier


def test_the_suggested_remap_works(tmp_path):
    folder = make_folder(tmp_path / "mine", gold=5)
    for path in (*(folder / "masks").iterdir(), *(folder / "gold").iterdir()):
        codes = disc(dtype=np.uint16, value=7)
        codes[:3] = 900
        save(path, codes)
    complaint = refused("prepare", folder, "--out", tmp_path / "set", says=["--remap"]).complaint
    remap = complaint.split("--remap ")[1].split(";")[0].split(" ")[0]
    assert remap == "7:1,900:2"
    assert done("check", folder, "--remap", remap, "--json").json["ok"]
    done("prepare", folder, "--remap", remap, "--out", tmp_path / "set")
    prepared = PreparedSet.open(tmp_path / "set")
    assert len(prepared.classes) == 3
    label = prepared.label(prepared.cases[0])
    assert [(label == value).sum() for value in (1, 2)] == [(codes == value).sum() for value in (7, 900)]
    for wrong in ("7=1", "7:1", "7:-1,900:2", "x:1"):
        refused("prepare", folder, "--remap", wrong, "--out", tmp_path / "other", says=["--remap"])
    assert not (tmp_path / "other").exists()


@pytest.fixture
def copies(sets, run, tmp_path):
    """A set and a run that a test may damage."""
    shutil.copytree(sets.noisy, tmp_path / "set")
    shutil.copytree(run, tmp_path / "run")
    return tmp_path / "set", tmp_path / "run"


@pytest.mark.parametrize("name", ["set.json", "cases.jsonl", "noise.json", "SHA256SUMS"])
def test_a_set_with_a_damaged_table(copies, tmp_path, name):
    prepared, run = copies
    flip_a_byte(prepared / name, at=0.95)  # of the checksums: where the manifest's stands
    kept = contents(run)
    checked = cli("check", prepared, "--json")
    assert checked.status == 2
    assert checked.json["findings"][0]["code"] == "set-damaged"
    assert str(prepared) in checked.json["findings"][0]["sentence"]
    says = [prepared, "prepare the set again"]
    refused(*train(prepared, tmp_path / "new"), says=says)
    refused("evaluate", run, "--data", prepared, says=says)
    refused("corrupt", prepared, "--rate", 0.4, "--out", tmp_path / "noisy", says=says)
    assert not (tmp_path / "new").exists()
    assert not (tmp_path / "noisy").exists()
    assert contents(run) == kept


@pytest.mark.parametrize(
    ("role", "kind", "hit"),
    [
        ("train", "image", {"train"}),
        ("train", "label", {"train"}),
        ("train", "edges", {"train"}),
        ("gold", "label", {"train"}),
        ("val", "image", {"train"}),
        ("test", "image", {"evaluate"}),
        ("test", "truth", {"evaluate"}),
    ],
)
def test_a_set_with_a_flipped_byte(copies, tmp_path, role, kind, hit):
    prepared, run = copies
    case = first_id(prepared, role)
    flip_a_byte(chunk(prepared, case, kind))
    kept = contents(run)
    checked = cli("check", prepared, "--json")
    assert checked.status == 2
    found = [finding for finding in checked.json["findings"] if finding["severity"] == "error"]
    assert [(finding["code"], finding["where"]) for finding in found] == [("checksum", case)]
    says = [f"'{case}'", prepared]
    if "train" in hit:
        refused(*train(prepared, tmp_path / "new"), says=says, alone=False)
        assert not (tmp_path / "new" / "model.safetensors").exists()
    if "evaluate" in hit:
        refused("evaluate", run, "--data", prepared, says=says)
    assert contents(run) == kept  # the evaluation of before, too


OPTIONS = {
    "unknown command": (["trian"], ["unknown command 'trian'", "did you mean 'train'"]),
    "unknown method": (["{train}", "--method", "metadcsg"], ["'metadcsg'", "did you mean 'metadcseg'"]),
    "unknown option": (["{train}", "--training.lrr", "1"], ["--training.lrr", "did you mean --training.lr?"]),
    "unknown method's option": (["{train}", "--metadcseg.etta", "1"], ["did you mean --metadcseg.eta?"]),
    "unknown preset": (["{train}", "--config", "smal"], ["preset 'smal'", "did you mean 'small'"]),
    "no such file": (["{train}", "--config", "a.yaml"], ["--config a.yaml", "there is no such file"]),
    "unknown split": (["evaluate", "{run}", "--split", "tset"], ["'tset'", "did you mean 'test'"]),
    "unknown network": (["{train}", "--network.name", "condsek"], ["'condsek'", "did you mean 'condseg'"]),
    "text for a number": (["{train}", "--training.lr", "abc"], ["--training.lr must be a number, got abc"]),
    "half an epoch": (["{train}", "--epochs", "1.5"], ["--epochs must be a whole number, got 1.5"]),
    "negative epochs": (["{train}", "--epochs", "-1"], ["epochs must be", "at least 1, got -1"]),
    "no epochs": (["{train}", "--epochs", "0"], ["epochs must be", "at least 1, got 0"]),
    "an edge is no certainty and a half": (
        ["{train}", "--binned.edge_threshold", "1.5"],
        ["binned.edge_threshold must be above 0 and at most 1, got 1.5"],
    ),
    "no such edge detector": (
        ["prepare", "phantom", "--out", "{new}", "--edges", "pidnet.pth"],
        ["--edges must be pidinet, none or a file with weights of PiDiNet, got 'pidnet.pth'"],
    ),
    "negative rate": (["{train}", "--training.lr", "-1"], ["training.lr must be above 0, got -1"]),
    "NaN as learning rate": (
        ["{train}", "--training.lr", "nan"],
        ["--training.lr must be a number, got nan"],
    ),
    "negative width": (
        ["{train}", "--network.width", "-2"],
        ["network.width must be a whole number from 1 on, got -2"],
    ),
    "too many threads": (["{train}", "--training.threads", "9999"], ["threads must be at most", "got 9999"]),
    "unknown choice": (["{train}", "--binned.dice", "x"], ["one of given, weighted, got x"]),
    "option of before": (
        ["{train}", "--metadcseg.normalisation", "x"],
        ["did you mean --metadcseg.normalization?"],
    ),
    "neither true nor false": (["{train}", "--training.augment.flip", "x"], ["must be true or false, got x"]),
    "negative seed": (["{train}", "--seed", "-1"], ["--seed must be", "got -1"]),
    "no data": (["train", "--out", "{new}"], ["--data must be given"]),
    "data nowhere": (["train", "--data", "nowhere", "--out", "{new}"], ["nowhere is not a prepared set"]),
    "a folder as data": (["train", "--data", "{run}", "--out", "{new}"], ["not a prepared set", "prepare'"]),
    "a stray word": (["{train}", "stray"], ["stray"]),
    "rate 0.99": (["corrupt", "{clean}", "--rate", "0.99", "--out", "{new}"], ["0.99 cannot be reached"]),
    "rate above 1": (["corrupt", "{clean}", "--rate", "1.5", "--out", "{new}"], ["below 1, got 1.5"]),
    "rate below 0": (["corrupt", "{clean}", "--rate", "-0.1", "--out", "{new}"], ["at least 0", "got -0.1"]),
    "NaN as rate": (["corrupt", "{clean}", "--rate", "nan", "--out", "{new}"], ["--rate must be a number"]),
    "noise on noise": (["corrupt", "{noisy}", "--rate", "0.4", "--out", "{new}"], ["corrupted already"]),
    "noise seed": (
        ["corrupt", "{clean}", "--rate", ".4", "--seed=-1", "--out", "{new}"],
        ["--seed", "got -1"],
    ),
    "gold 1.5": (["prepare", "phantom", "--gold", "1.5", "--out", "{new}"], ["--gold", "got '1.5'"]),
    "NaN as gold": (["prepare", "phantom", "--gold", "nan", "--out", "{new}"], ["--gold", "got 'nan'"]),
    "negative gold": (["prepare", "phantom", "--gold", "-1", "--out", "{new}"], ["--gold", "got '-1'"]),
    "too much gold": (["prepare", "phantom", "--gold", "999", "--out", "{new}"], ["must exceed gold"]),
    "limit of phantoms": (
        ["prepare", "phantom", "--limit", "9", "--out", "{new}"],
        ["--limit does not belong"],
    ),
    "negative limit": (["prepare", "{folder}", "--limit", "-1", "--out", "{new}"], ["limit is", "got -1"]),
    "phantom's option": (["prepare", "{folder}", "--classes", "3", "--out", "{new}"], ["--classes does not"]),
    "shares too large": (
        ["prepare", "{folder}", "--val", "0.5", "--test", "0.5", "--out", "{new}"],
        ["lower"],
    ),
    "nine classes": (["prepare", "phantom", "--classes", "9", "--out", "{new}"], ["between 2 and 4, got 9"]),
    "no source": (["prepare", "kvasir-seg", "--out", "{new}"], ["kvasir-seg needs --source"]),
    "source nowhere": (["prepare", "kvasir-seg", "--source", "no", "--out", "{new}"], ["no holds no folder"]),
    "folder nowhere": (["prepare", "nowhere", "--out", "{new}"], ["nowhere does not exist"]),
    "check nowhere": (["check", "nowhere"], ["nowhere does not exist", "give a folder"]),
    "run nowhere": (["evaluate", "nowhere"], ["nowhere is not the folder of a run"]),
    "images nowhere": (["predict", "{run}", "nowhere", "--out", "{new}"], ["nowhere: there is no such file"]),
    "predict with no run": (["predict", "{clean}", "x", "--out", "{new}"], ["is not the folder of a run"]),
}


@pytest.mark.parametrize(("words", "says"), OPTIONS.values(), ids=OPTIONS.keys())
def test_options(sets, run, tmp_path, words, says):
    places = {"new": tmp_path / "new", "run": run, "clean": sets.clean, "noisy": sets.noisy}
    if "{folder}" in words:
        places["folder"] = make_folder(tmp_path / "mine")
    begin = ["train", "--data", sets.noisy, "--out", tmp_path / "new"]
    spread = [part for word in words for part in (begin if word == "{train}" else [word])]
    kept = contents(run)
    refused(*(str(word).format(**places) for word in spread), says=says)
    assert not (tmp_path / "new").exists()
    assert contents(run) == kept


FILES = {
    "unknown key": ("training: {lrr: 1}", ["'training.lrr'", "did you mean 'training.lr'"]),
    "unknown section": ("trainin: {lr: 1}", ["'trainin'", "did you mean 'training'"]),
    "unknown key within": ("training: {augment: {flipp: true}}", ["did you mean 'training.augment.flip'"]),
    "unknown method": ("method: metadcsg", ["'metadcsg'", "did you mean 'metadcseg'"]),
    "no mapping": ("training: 5", ["'training'", "must hold options"]),
    "nothing": ("", ["must hold options"]),
    "an empty section": ("training:\nnetwork: {width: 2}", ["'training'", "must hold options"]),
    "a list": ("- 1", ["must hold options"]),
    "no YAML": ("training: {lr: 1", ["line 1"]),
    "wrong type": ("training: {lr: abc}", ["training.lr must be a number, got abc"]),
    "binary": (b"\xff\xfe\x00", ["UTF-8"]),
}


@pytest.mark.parametrize(("text", "says"), FILES.values(), ids=FILES.keys())
def test_configuration_files(sets, tmp_path, text, says):
    file = tmp_path / "mine.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    start = ("train", "--data", sets.noisy, "--out", tmp_path / "new")
    refused(*start, "--config", file, says=says)
    refused(*start, f"--config={file}", says=says)
    assert not (tmp_path / "new").exists()


def test_no_gold_for_a_method_that_needs_it(tmp_path):
    done("prepare", "phantom", "--count", 16, "--size", 16, "--gold", 0, "--out", tmp_path / "set")
    says = ["method 'calibrated' needs verified masks", tmp_path / "set", "name some"]
    refused(*train(tmp_path / "set", tmp_path / "run"), says=says)
    mixed = ("--method", "supervised", "--supervised.gold", "mixed")
    refused(*train(tmp_path / "set", tmp_path / "run", *mixed), says=["needs verified masks"])
    assert not (tmp_path / "run").exists()
    done(*train(tmp_path / "set", tmp_path / "run", "--method", "supervised"))


@pytest.fixture(scope="module")
def straight(sets, tmp_path_factory):
    """One run after its first epoch and after its second, which it was resumed for."""
    folder = tmp_path_factory.mktemp("straight")
    first, second = folder / "first", folder / "second"
    done(*train(sets.noisy, first))
    shutil.copytree(first, second)
    done(*train(sets.noisy, second, "--resume", epochs=2))
    return SimpleNamespace(first=first, second=second)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--training.size", "33"), ["got 33 x 33", "nearest sizes are 32"]),
        (
            ("--training.lr", "1e9", "--training.clip", "0"),
            ["no longer a finite number", "lower training.lr"],
        ),
    ],
)
def test_a_first_try_that_fails_leaves_the_folder_to_the_second(sets, straight, tmp_path, words, says):
    refused(*train(sets.noisy, tmp_path / "run", *words), says=says, alone=False)
    assert read_run(tmp_path / "run")["status"] == "failed"
    done(*train(sets.noisy, tmp_path / "run"))
    assert same_weights(tmp_path / "run", straight.first)


def test_a_run_whose_set_is_gone(copies):
    prepared, run = copies
    done(*train(prepared, run.with_name("other"), "--method", "supervised"))
    shutil.rmtree(prepared)
    refused("evaluate", run.with_name("other"), says=[prepared, "give it as --data"])


OTHER = {
    "seed": (["--seed", "1"], ["seed: 0 there, 1 now"]),
    "method": (["--method", "supervised"], ["method: calibrated there, supervised now"]),
    "width": (["--network.width", "4"], ["network.width: 2 there, 4 now"]),
    "learning rate": (["--training.lr", "0.1"], ["training.lr: 0.05 there, 0.1 now"]),
    "method's option": (["--calibrated.temperature", "5"], ["calibrated.temperature"]),
    "fewer epochs": (["--epochs", "1"], ["2 there, 1 now", "only grow"]),
    "data": (["--data", "{clean}"], ["data: fingerprint"]),
}


@pytest.mark.parametrize("resume", [[], ["--resume"]], ids=["anew", "resume"])
@pytest.mark.parametrize(("words", "says"), OTHER.values(), ids=OTHER.keys())
def test_a_folder_that_holds_another_run(sets, run, words, says, resume):
    kept = contents(run)
    begin = train(sets.noisy, run, "--training.figure_every", 2, epochs=2)
    alone = words[0] != "--data"  # of the other set is said, too, that it has no pairs
    given = (word.format(clean=sets.clean) for word in words)
    refused(*begin, *given, *resume, says=[run, *says], alone=alone)
    assert contents(run) == kept


def test_a_folder_that_holds_this_very_run(sets, run):
    kept = contents(run)
    begin = train(sets.noisy, run, "--training.figure_every", 2, epochs=2)
    refused(*begin, says=[run, "already holds this run", "2 epochs done", "--resume"])
    assert contents(run) == kept
    assert "is finished" in done(*begin, "--resume").err
    assert contents(run) == kept


def test_an_output_that_is_no_run(sets, run, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").write_text("years of work")
    (tmp_path / "file").write_text("more of it")
    for words in ([], ["--resume"]):
        start = train(sets.noisy, tmp_path / "thesis", *words)
        refused(*start, says=["thesis", "chapter1.tex", "another --out"])
        refused(*train(sets.noisy, tmp_path / "file", *words), says=["file is a file", "new folder"])
    refused("prepare", "phantom", "--out", tmp_path / "thesis", says=["thesis already holds 'chapter1.tex'"])
    refused("corrupt", sets.clean, "--rate", 0.4, "--out", tmp_path / "thesis", says=["already holds"])
    refused("prepare", "phantom", "--out", tmp_path / "file", says=["file is a file"])
    assert contents(tmp_path).keys() == {"thesis/chapter1.tex", "file"}
    assert (tmp_path / "thesis" / "chapter1.tex").read_text() == "years of work"


@pytest.mark.parametrize("name", ["checkpoints/last.pt", "model.safetensors", "run.json"])
def test_a_run_with_a_file_cut_in_half(copies, tmp_path, name):
    prepared, run = copies
    whole = (run / name).read_bytes()
    (run / name).write_bytes(whole[: len(whole) // 2])
    save(tmp_path / "new.png", gradient(20, 20))
    cut = contents(run)
    says = [run / name, "its end is missing" if name == "run.json" else "damaged"]
    if name != "model.safetensors":
        begin = train(prepared, run, "--training.figure_every", 2, epochs=3)
        refused(*begin, "--resume", says=says)
    if name != "checkpoints/last.pt":
        refused("evaluate", run, "--data", prepared, says=says)
        refused("predict", run, tmp_path / "new.png", "--out", tmp_path / "masks", says=says)
        assert not (tmp_path / "masks").exists()
    assert contents(run) == cut
    if name == "checkpoints/last.pt":  # the way out that the sentence names
        (run / name).unlink()
        done(*begin, "--resume")
        assert read_run(run)["status"] == "finished"


def test_one_broken_image_does_not_keep_the_others_from_their_masks(run, tmp_path):
    new, out = tmp_path / "new", tmp_path / "masks"
    for name in "abc":
        save(new / f"{name}.png", gradient(20, 24))
    (new / "b.png").write_bytes((new / "a.png").read_bytes()[:60])
    refused("predict", run, new, "--out", out, says=["2 of 3 masks", "b.png"])
    assert sorted(path.name for path in out.iterdir()) == ["a.png", "c.png"]
    refused("predict", run, new, "--out", new, says=["is the folder of the images"])
    kept = contents(out)
    save(new / "a.png", gradient(30, 10))
    refused("predict", run, new, "--out", out, says=["a.png exists and holds something else"])
    assert contents(out) == kept


def same_weights(one, two):
    first, second = (load_run(folder).network.state_dict() for folder in (one, two))
    return all((value == second[name]).all() for name, value in first.items())


@pytest.mark.parametrize("size", [100, 20_000, 200_000])  # too small for the log, the weights, a checkpoint
def test_a_disk_that_is_full_while_training_saves(sets, straight, tmp_path, size):
    out = shutil.copytree(straight.first, tmp_path / "run")
    kept = contents(out)
    with full_disk(size):
        refused(*train(sets.noisy, out, "--resume", epochs=2), says=[out, "the disk is full"], alone=False)
    left = contents(out)
    assert left["checkpoints/last.pt"] == kept["checkpoints/last.pt"]
    assert load_run(out).network is not None  # whole, and by now perhaps that of the second epoch
    assert not [name for name in left if name.endswith(".tmp")]
    done(*train(sets.noisy, out, "--resume", epochs=2))
    assert same_weights(out, straight.second)


def test_a_disk_that_is_full_elsewhere(sets, run, copies, tmp_path):
    _, mine = copies
    save(tmp_path / "new" / "a.png", gradient(200, 200, 3))
    kept = contents(mine)
    with full_disk(100):
        refused(
            "prepare", "phantom", "--count", 16, "--size", 32, "--out", tmp_path / "p", says=["p cannot be"]
        )
        refused("corrupt", sets.clean, "--rate", 0.4, "--out", tmp_path / "c", says=["c cannot be written"])
        refused("evaluate", mine, says=[mine, "the disk is full"])
        says = [tmp_path / "m", "the disk is full"]
        refused("predict", mine, tmp_path / "new", "--out", tmp_path / "m", "--overlays", says=says)
    assert contents(mine) == kept
    assert not [name for name in contents(tmp_path / "m") if name.endswith(".tmp")]
    assert {path.name for path in tmp_path.iterdir()} == {"m", "new", "run", "set"}


@pytest.fixture
def small_disk(tmp_path):
    """A file system of its own with room for one tiny run and little more."""
    place = tmp_path / "disk"
    place.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=5m", "tmpfs", str(place)]
    try:
        mounted = subprocess.run(options, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        pytest.skip("mounting a small file system needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_file_system_without_room(sets, straight, small_disk):
    out = shutil.copytree(straight.first, small_disk / "run")
    kept = contents(out)
    free = shutil.disk_usage(small_disk).free
    (small_disk / "ballast").write_bytes(bytes(max(free - 100_000, 0)))
    refused(*train(sets.noisy, out, "--resume", epochs=3), says=[out, "the disk is full"], alone=False)
    assert contents(out)["checkpoints/last.pt"] == kept["checkpoints/last.pt"]
    assert load_run(out).network is not None
    (small_disk / "ballast").unlink()
    done(*train(sets.noisy, out, "--resume", epochs=3))
    assert read_run(out)["epochs_done"] == 3
