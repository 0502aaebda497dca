"""Bundles are read and carried out by MONAI's own reader, and predict as the command does."""

import json
import sys

import numpy as np
import pytest
import tifffile
import torch
from monai.bundle import ConfigParser
from monai.data import decollate_batch
from PIL import Image
from tests.unit.export.images import write_deep_colors
from tests.unit.export.networks import random_run

from metadcseg.cli.main import main
from metadcseg.data.formats.images import read_image
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.errors import InputError
from metadcseg.evaluation.inputs import output_names
from metadcseg.evaluation.predict import fit_channels, load_predictor, probabilities_at_native
from metadcseg.evaluation.predict_files import predict_images
from metadcseg.export.monai_bundle import export_bundle
from metadcseg.export.monai_inference import inference
from metadcseg.export.parity import TOLERANCE

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*torch.jit.*:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning:monai.*"),
]


def pictures(folder):
    """Gray, color, of 16 bits, turned by a tag, of one value, two with one stem, and one that is hidden."""
    folder.mkdir()
    noise = np.random.default_rng(0)
    Image.fromarray(noise.integers(0, 200, (30, 50), np.uint8)).save(folder / "gray.png")
    Image.fromarray(noise.integers(0, 200, (41, 33), np.uint16) * 300).save(folder / "deep.png")
    turned = Image.Exif()
    turned[274] = 6
    color = Image.fromarray(noise.integers(0, 200, (64, 40, 3), np.uint8))
    color.save(folder / "turned.png", exif=turned)
    Image.new("L", (20, 24), 7).save(folder / "flat.png")
    Image.fromarray(noise.integers(0, 200, (22, 26), np.uint8)).save(folder / "Gray.tif")
    white = noise.integers(0, 60_000, (19, 23), np.uint16)
    tifffile.imwrite(folder / "white.tif", white, photometric="miniswhite")
    (folder / "._gray.png").write_bytes(b"of a Mac")
    return folder


@pytest.mark.parametrize(("channels", "size"), [(1, 32), (3, 27)])
def test_a_bundle_predicts_as_the_command_does(tmp_path, monkeypatch, channels, size):
    run = random_run(tmp_path / "run", channels=channels, classes=3, method="trinet", size=size)
    images = pictures(tmp_path / "images")
    out = tmp_path / "bundle"
    export_bundle(run, out, trust_code=True)
    monkeypatch.delattr("PIL.ImageOps")  # the bundle imports what it needs itself
    monkeypatch.delitem(sys.modules, "PIL.ImageOps")
    parser = ConfigParser()
    parser.read_config(out / "configs/inference.json")
    parser.read_meta(out / "configs/metadata.json")
    parser.update(
        {"bundle_root": str(out), "dataset_dir": str(images), "output_dir": str(tmp_path / "theirs")}
    )
    said = parser["_meta_"]["network_data_format"]
    assert said["inputs"]["image"]["num_channels"] == channels
    assert list(said["outputs"]["pred"]["channel_def"].values()) == ["background", "organ", "core"]
    network, infer, after = (
        parser.get_parsed_content(name) for name in ("network_def", "inferer", "postprocessing")
    )
    trained, predict = load_predictor(run, "cpu", trust_code=True)
    for batch in parser.get_parsed_content("dataloader"):
        with torch.inference_mode():
            batch["pred"] = infer(batch["image"], network.eval())
        (one,) = decollate_batch(batch)
        file = images / one["image"].meta["filename_or_obj"].rpartition("/")[2]
        array = fit_channels(file, read_image(file).array, channels)
        wanted = probabilities_at_native(predict, array, trained.size)
        assert float((one["pred"].as_tensor() - wanted).abs().max()) < TOLERANCE, file.name
        after(one)
    for ours in predict_images(run, images, tmp_path / "ours", device="cpu", trust_code=True):
        theirs = tmp_path / "theirs" / ours.name
        assert np.array_equal(np.array(Image.open(ours)), np.array(Image.open(theirs))), ours.name


def test_a_bundle_has_the_layout_that_monai_asks_for(tmp_path):
    run = random_run(tmp_path / "run")
    told = export_bundle(run, tmp_path / "bundle", trust_code=True)
    files = sorted(str(path.relative_to(tmp_path / "bundle")) for path in (tmp_path / "bundle").rglob("*.*"))
    assert files == ["configs/inference.json", "configs/metadata.json", "docs/README.md", "models/model.ts"]
    assert json.loads((tmp_path / "bundle/configs/metadata.json").read_text()) == told
    assert told["difference"] < TOLERANCE
    from monai.bundle.properties import InferProperties, MetaProperties

    parser = ConfigParser()
    parser.read_config(tmp_path / "bundle/configs/inference.json")
    parser.read_meta(tmp_path / "bundle/configs/metadata.json")
    asked = [each for each in (InferProperties | MetaProperties).values() if each["required"]]
    assert not [each["id"] for each in asked if each["id"] not in parser]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # MONAI leaves the file open
def test_a_file_of_several_frames_is_refused(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2, 9, 8), np.uint16), photometric="minisblack")
    said = {"values": {"background": 0, "organ": 255}, "suffixes": [".tif"], "channels": 1}
    parser = ConfigParser(inference(said))
    with pytest.raises(SystemExit, match=r"a\.tif holds 2 frames, a single one is allowed"):
        parser.get_parsed_content("preprocessing")({"image": str(tmp_path / "a.tif")})


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # MONAI leaves the file open
@pytest.mark.parametrize("name", ["color.png", "color.tif", "planes.tif"])
def test_color_of_16_bits_is_refused_as_pillow_cuts_it(tmp_path, name):
    write_deep_colors(tmp_path)
    said = {"values": {"background": 0, "organ": 255}, "suffixes": [".png"], "channels": 3}
    parser = ConfigParser(inference(said))
    with pytest.raises(
        SystemExit, match=rf"{name} is 16-bit color, which Pillow cuts to 8: predict with met"
    ):
        parser.get_parsed_content("preprocessing")({"image": str(tmp_path / name)})


def test_masks_that_would_share_a_name_are_refused(tmp_path):
    said = {"values": {"background": 0, "organ": 255}, "suffixes": [".png", ".jpg"], "channels": 1}
    for name in ("A.jpg", "a.png", "a.jpg.png", "b.jpg", "b.png", "c.png"):
        (tmp_path / name).touch()
    parser = ConfigParser(inference(said) | {"dataset_dir": str(tmp_path)})
    with pytest.raises(SystemExit, match=r"^A\.jpg, a\.jpg\.png would get masks of one name: rename one"):
        parser.get_parsed_content("dataset")
    (tmp_path / "a.jpg.png").unlink()
    parser = ConfigParser(inference(said) | {"dataset_dir": str(tmp_path)})
    assert len(parser.get_parsed_content("dataset")) == 5
    assert list(parser.get_parsed_content("names").values()) == output_names(sorted(tmp_path.iterdir()))


def test_what_cannot_be_exact_is_refused(tmp_path):
    run = random_run(tmp_path / "run", how=SliceOptions().to_dict())
    with pytest.raises(InputError, match=r"was trained on volumes, .* export it with --onnx"):
        export_bundle(run, tmp_path / "bundle", trust_code=True)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine").touch()
    with pytest.raises(InputError, match="already holds 'mine'"):
        export_bundle(run, tmp_path / "full", trust_code=True)


@pytest.mark.parametrize("name", ["$print('carried out') #", "%other.json::a", "@network_def", "a %::b"])
def test_a_name_that_monai_would_carry_out_is_refused(tmp_path, name):
    run = random_run(tmp_path / "run")
    record = json.loads((run / "run.json").read_text())
    record["set"]["classes"][1] = name
    (run / "run.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match="which would carry it out: export it with --onnx"):
        export_bundle(run, tmp_path / "bundle", trust_code=True)
    assert not (tmp_path / "bundle").exists()


def test_a_name_that_is_no_text_is_shown_escaped(tmp_path):
    run = random_run(tmp_path / "run")
    record = json.loads((run / "run.json").read_text()) | {"label": "a \udcff"}
    (run / "run.json").write_text(json.dumps(record))
    export_bundle(run, tmp_path / "bundle", trust_code=True)
    assert "# a \\udcff" in (tmp_path / "bundle/docs/README.md").read_text()


@pytest.mark.parametrize(("bundle", "said"), [("full", "already holds"), ("onnx", "both name")])
def test_where_two_exports_cannot_both_be_written_none_is(tmp_path, bundle, said, capsys):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    words = ["export", "run", "--onnx", str(tmp_path / "onnx"), "--monai-bundle", str(tmp_path / bundle)]
    assert main(words) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "onnx").exists()
