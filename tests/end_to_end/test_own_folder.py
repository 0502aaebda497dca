"""A folder of the reader's own: files of mixed size and format, from check to masks of new images."""

import shutil

import numpy as np
import pytest
from PIL import Image
from tests.end_to_end.tools import cli, done, pixels, save, train
from tests.unit.data.folders import KVASIR, mixed_folder

from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.synthetic.phantom import PhantomOptions, draw_case


def of_phantoms(root):
    """Save a dozen drawn images as a reader would have them; return new ones for prediction."""
    for number in range(15):
        options = PhantomOptions(size=40, mixed_sizes=True, seed=5)
        image, mask = draw_case(options, number)
        suffix = (".png", ".jpg", ".tif")[number % 3]
        shown = image[:, :, 0] if number % 4 == 0 else np.repeat(image, 3, axis=2)
        if number >= 12:
            save(root.with_name("new") / f"new-{number}{suffix}", shown)
            continue
        save(root / "images" / f"case-{number}{suffix}", shown)
        kinds = [mask * np.uint8(255), mask, np.repeat(mask[:, :, None] * np.uint8(255), 3, axis=2)]
        save(root / "masks" / f"case-{number}{('.jpg', '.png', '.tif')[number % 3]}", kinds[number % 3])
        if number < 5:
            save(root / "gold" / f"case-{number}.png", kinds[0])


def of_kvasir(root):
    """Save a dozen real polyps of mixed size and format; return new ones for prediction."""
    mixed_folder(root)
    new = root.with_name("new")
    new.mkdir()
    for number in (20, 21):
        shutil.copy(KVASIR / "train" / "images" / f"{number}.jpg", new)
    with Image.open(new / "20.jpg") as image:
        image.resize((100, 77)).convert("L").save(new / "gray.png")


def test_kvasir_is_checked_where_it_is_prepared(tmp_path):
    """As `prepare --download` unpacks it: a folder in the folder."""
    mixed_folder(tmp_path / "here" / "Kvasir-SEG")
    shutil.rmtree(tmp_path / "here" / "Kvasir-SEG" / "gold")
    words = ("--source", tmp_path / "here", "--json", "--gold", 3)
    checked = done("check", "kvasir-seg", *words).json
    prepared = done("prepare", "kvasir-seg", "--out", tmp_path / "set", "--edges", "none", *words).json
    assert checked["cases"] == prepared["cases"]
    assert checked["cases"]["gold"] == 3


@pytest.mark.parametrize("made", [of_phantoms, of_kvasir])
def test_from_a_folder_to_masks_of_new_images(tmp_path, made):
    folder, prepared, run, out = (tmp_path / name for name in ("mine", "set", "run", "masks"))
    made(folder)
    checked = done("check", folder, "--json").json
    assert checked["ok"]
    assert sum(checked["cases"].values()) == 12
    assert "mask-gray-levels" in {finding["code"] for finding in checked["findings"]}  # JPEG masks, and said

    report = done("prepare", folder, "--out", prepared, "--json").json
    assert report["cases"] == checked["cases"]
    assert (report["cases"]["gold"], report["channels"]) == (5, 3)
    opened = PreparedSet.open(prepared)
    assert len({(case.height, case.width) for case in opened.cases}) > 6
    assert all(set(np.unique(opened.label(case))) == {0, 1} for case in opened.cases)

    done(*train(prepared, run))
    record = done("evaluate", run, "--json").json
    assert record["summary"]["dsc"]["n"] == checked["cases"]["test"] > 0
    assert record["noise"] is None
    for case in opened.select("test"):
        size = (case.height, case.width)
        assert pixels(run / "evaluation" / record["predictions"][case.id]).shape == size

    new = sorted((tmp_path / "new").iterdir())
    done("predict", run, tmp_path / "new", "--out", out, "--overlays")
    assert len(new) == len(list(out.glob("*.png"))) == 3
    for file in new:
        with Image.open(file) as image:
            size = image.size[::-1]
        assert pixels(out / f"{file.stem}.png").shape == size
        drawn = pixels(out / "overlays" / f"{file.stem}.png")  # the legend is below
        assert drawn.shape[0] > size[0]
        assert drawn.shape[1] >= size[1]


def test_a_second_look_at_an_unfinished_folder(tmp_path):
    """What check says is what is to be mended: after that, prepare works."""
    of_phantoms(tmp_path / "mine")
    mask = tmp_path / "mine" / "masks" / "case-7.png"
    kept = mask.read_bytes()
    mask.unlink()
    (tmp_path / "mine" / "masks" / "notes.txt").write_text("to do: case 7")
    found = cli("check", tmp_path / "mine")
    assert found.status == 2
    assert "mend the errors first" in found.out
    assert "1 error" in found.out
    mask.write_bytes(kept)
    assert "ready" in done("check", tmp_path / "mine").out
    done("prepare", tmp_path / "mine", "--out", tmp_path / "set")


def test_names_that_are_no_text(tmp_path):
    """File names are bytes; those of old archives are not UTF-8."""
    of_phantoms(tmp_path / "mine")
    folder = bytes(tmp_path / "mine")
    for part, suffix in ((b"images", b".tif"), (b"masks", b".tif")):
        try:
            (tmp_path / "mine" / part.decode() / "case-5.tif").rename(
                (folder + b"/" + part + b"/K\xe4se" + suffix).decode("utf-8", "surrogateescape")
            )
        except OSError:
            pytest.skip("this file system wants UTF-8")
    done("check", tmp_path / "mine")
    done("prepare", tmp_path / "mine", "--out", tmp_path / "set")
    done("corrupt", tmp_path / "set", "--rate", "0.4", "--out", tmp_path / "noisy")
    done(*train(tmp_path / "noisy", tmp_path / "run"))
    done("evaluate", tmp_path / "run", "--split", "train")
    new = (folder + b"/images/K\xe4se.tif").decode("utf-8", "surrogateescape")
    done("predict", tmp_path / "run", new, "--out", tmp_path / "masks")
    assert len(list((tmp_path / "masks").iterdir())) == 1
