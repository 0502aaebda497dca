"""Task01 of the Decathlon and PROMISE12, in their exact layout, from files to predictions; and real data sets."""

import hashlib
import shutil
import threading
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from tests.end_to_end.tools import done, refused, save, train
from tests.unit.data.download.test_download import Server
from tests.unit.data.sources.test_known_sources import decathlon, image, nifti, promise12

from metadcseg.data.download import fetch

DATA = Path(__file__).parents[3] / "shared/data"


def real(name):
    """Return the folder of a real data set, or skip."""
    if not (DATA / name).is_dir():
        pytest.skip(f"needs the real images in {DATA / name}, which are not part of the project")
    return DATA / name


@pytest.fixture
def serving():
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_brain_tumours_with_regions(tmp_path):
    decathlon(tmp_path / "Task01_BrainTumour", channels=4, classes=4)
    source = ("msd-brain", "--source", tmp_path / "Task01_BrainTumour")
    assert done("check", *source, "--json").json["ok"]
    told = done("prepare", *source, "--edges", "none", "--out", tmp_path / "set", "--json")
    assert told.json["volumes"] == {"train": 9, "gold": 1, "val": 1, "test": 1}
    for part in ("CC-BY-SA 4.0", "Antonelli", "12 volumes", "on disk", "of memory"):
        assert part in told.err  # before the work
    assert told.json["source"]["licence"] == "CC-BY-SA 4.0"
    assert "Antonelli" in told.json["source"]["citation"]
    assert [found["code"] for found in told.json["findings"]].count("estimate") == 1
    few = done("prepare", *source, "--limit", "2", "--edges", "none", "--out", tmp_path / "few", "--json")
    assert few.json["volumes"] == {"train": 2, "gold": 1, "val": 1, "test": 1}
    assert "5 volumes: 30 slices" in few.err
    done("corrupt", tmp_path / "set", "--rate", "0.2", "--out", tmp_path / "noisy")
    done(*train(tmp_path / "noisy", tmp_path / "run", epochs=2))
    record = done("evaluate", tmp_path / "run", "--json").json
    assert record["regions"]["per_class"].keys() == {"enhancing tumour", "oedema", "tumour core"}
    nifti(tmp_path / "new/case_900.nii.gz", image(900, 4))
    done("predict", tmp_path / "run", tmp_path / "new", "--out", tmp_path / "masks")
    assert nibabel.load(tmp_path / "masks/case_900.nii.gz").shape == (12, 10, 6)


def test_promise12_with_compressed_voxels(tmp_path):
    promise12(tmp_path / "promise")
    done(
        "prepare", "promise12", "--source", tmp_path / "promise", "--out", tmp_path / "set", "--edges", "none"
    )
    done(*train(tmp_path / "set", tmp_path / "run", "--method", "supervised", epochs=2))
    assert done("evaluate", tmp_path / "run", "--json").json["summary"]["hd_mm"]["n"] == 4
    file = tmp_path / "promise/TrainingData_Part1/Case00.mhd"
    done("predict", tmp_path / "run", file, "--out", tmp_path / "masks")
    ours, theirs = sitk.ReadImage(str(tmp_path / "masks/Case00.mha")), sitk.ReadImage(str(file))
    for read in ("GetSize", "GetSpacing", "GetOrigin", "GetDirection"):
        np.testing.assert_allclose(getattr(ours, read)(), getattr(theirs, read)(), rtol=0, atol=1e-6)


def test_what_does_not_fit_is_one_sentence(tmp_path):
    decathlon(tmp_path / "task", cases=3)
    out = ("--out", tmp_path / "set")
    refused("prepare", "msd", *out, says=("msd needs --source",))
    refused("prepare", "msd-hart", *out, says=("did you mean 'msd-heart'?",))
    refused(
        "prepare",
        "msd",
        "--source",
        tmp_path / "task",
        "--labels",
        "x",
        *out,
        says=("--labels does not belong",),
    )
    refused("prepare", "patterns", "--source", tmp_path, "--image", "{case}", *out, says=("need --label",))
    refused("prepare", tmp_path / "task", "--image", "{case}", *out, says=("--image does not belong",))
    refused("prepare", "msd", "--source", tmp_path / "task", "--gold", "nobody.txt", *out, says=("--gold",))
    refused("check", "promise12", "--source", tmp_path, says=("holds no CaseNN.mhd",))
    refused("check", "msd-hart", "--source", tmp_path / "task", says=("did you mean 'msd-heart'?",))
    refused("check", "kvasir", "--source", tmp_path / "task", says=("did you mean 'kvasir-seg'?",))
    refused("check", "nowhere", "--source", tmp_path / "task", says=("--source does not belong",))
    refused("prepare", "nowhere", *out, says=("nowhere does not exist",))


def test_a_data_set_is_fetched_and_prepared(tmp_path, monkeypatch, serving):
    promise12(tmp_path / "there")
    shutil.make_archive(tmp_path / "training_data", "zip", tmp_path / "there")
    serving.content = (tmp_path / "training_data.zip").read_bytes()
    digest = "sha256:" + hashlib.sha256(serving.content).hexdigest()
    monkeypatch.setitem(fetch.ARCHIVES, "promise12", (serving.archive(digest),))
    words = ("prepare", "promise12", "--download", "--source", tmp_path / "here", "--edges", "none")
    told = done(*words, "--out", tmp_path / "set")
    for part in ("Litjens", "Licence", "127.0.0.1", "20 volumes"):
        assert part in told.err
    done(*words, "--out", tmp_path / "again")
    assert len(serving.asked) == 1  # neither fetched nor unpacked again
    serving.content = b"another"
    refused(*words[:4], tmp_path / "new", "--out", tmp_path / "x", says=("checksum", "--source"), alone=False)


def test_what_cannot_be_fetched_is_one_sentence(tmp_path):
    def say(what, *words, says):
        refused("prepare", what, "--download", *words, "--out", tmp_path / "set", says=says, alone=False)

    say("acdc", "--source", tmp_path, says=("acdc needs a login", "https://www.creatis", "give --source"))
    say("msd", "--source", tmp_path, says=("msd has ten tasks",))
    say("promise12", says=("--download needs --source",))
    say("my_folder", says=("unknown data set for --download 'my_folder'",))
    assert list(tmp_path.iterdir()) == []


def test_gold_by_list(tmp_path):
    decathlon(tmp_path / "task")
    (tmp_path / "gold.txt").write_text("case_001\ncase_002\n")
    words = ("prepare", "msd", "--source", tmp_path / "task", "--val", "0", "--test", "0", "--edges", "none")
    told = done(*words, "--gold", tmp_path / "gold.txt", "--out", tmp_path / "set", "--json").json
    assert told["volumes"]["gold"] == 2


def test_whose_polyps_they_are_is_said_before_the_work(tmp_path):
    for number in range(10):
        picture = np.random.default_rng(number).integers(0, 255, (24, 24, 3), np.uint8)
        square = np.zeros((24, 24), np.uint8)
        square[4:12, 6:15] = 255
        save(tmp_path / f"Kvasir-SEG/images/{number}.png", picture)
        save(tmp_path / f"Kvasir-SEG/masks/{number}.png", square)
    words = ("prepare", "kvasir-seg", "--source", tmp_path, "--edges", "none", "--out", tmp_path / "set")
    told = done(*words, "--json")
    assert "Licence: free for research and education" in told.err
    assert "D. Jha" in told.json["source"]["citation"]


def test_real_left_atria_slices_and_tumours(tmp_path):
    """Not trained here: see docs/results/volumes.md."""
    hearts = real("msd-heart")
    refused("check", "msd-heart", "--source", hearts, says=("no dataset.json, but dataset.original.json",))
    listed = hearts / "dataset.original.json"
    told = done("check", "msd-heart", "--source", listed, "--val", "0", "--test", "0.34", "--json").json
    assert told["ok"]
    assert [found["code"] for found in told["findings"]].count("case-incomplete") == 1
    told = done(
        "prepare",
        "acdc",
        "--source",
        real("acdc"),
        "--labels",
        "scribble",
        "--edges",
        "none",
        "--out",
        tmp_path / "acdc",
        "--json",
    ).json
    assert sum(told["volumes"].values()) == 18
    assert sum(told["cases"].values()) == 176
    atria = ("--image", "{role}/{case}.h5", "--label", "{role}/{case}.h5")
    words = ("check", "patterns", "--source", real("la2018"), *atria, "--val", "0.2", "--gold", "1", "--json")
    assert done(*words).json["cases"] == {"train": 4, "gold": 1, "val": 1, "test": 2}
