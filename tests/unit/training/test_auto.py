from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.networks import NetworkOptions
from metadcseg.training import TrainingOptions, auto
from metadcseg.training.auto import Machine, choose, small_objects
from metadcseg.training.expected_time import announce

TWO_CORES = Machine("cpu", 2)
SIXTEEN_CORES = Machine("cpu", 16)
GPU = Machine("cuda", 8, 80 * 2**30)


def disks(path, *, side=128, radii=(20,), train=6, gold=2, classes=2):
    """A set of which every mask holds disks of these radii, the first class first."""
    rows, columns = np.mgrid[:side, :side]
    names = ("background", *(f"class {number}" for number in range(1, classes)))
    with SetWriter(path, name="disks", classes=names, channels=1) as writer:
        for role, count in {"train": train, "gold": gold, "val": 1, "test": 1}.items():
            for number in range(count):
                label = np.zeros((side, side), np.uint8)
                for place, radius in enumerate(radii):
                    center = (place + 0.5) * side / len(radii)
                    label[(rows - side / 2) ** 2 + (columns - center) ** 2 < radius**2] = (
                        place % (classes - 1) + 1
                    )
                name = f"{role}{number}"
                image = np.full((side, side, 1), number + 1, np.uint8)
                image[: len(role)] = 0
                writer.add(id=name, role=role, group=name, image=image, label=label)
    return PreparedSet.open(path)


def chosen(prepared, machine=TWO_CORES, said=(), network=None, **options):
    said = {*said, *(f"training.{name}" for name in options)}
    choice = choose(prepared, network or NetworkOptions(), TrainingOptions(**options), said, machine)
    return {**choice.training, **choice.network}, choice


def test_the_smallest_objects_are_found_by_their_parts(tmp_path):
    found = small_objects(disks(tmp_path / "set", radii=(20, 4)))
    assert found.pixels == pytest.approx(8, rel=0.15)
    assert found.share == pytest.approx(8 / 128, rel=0.15)


def test_specks_and_unknown_pixels_are_no_objects(tmp_path, monkeypatch):
    prepared = disks(tmp_path / "set", radii=(20,))
    whole = small_objects(prepared)

    def with_specks(case):
        label = PreparedSet.label(prepared, case).copy()
        label[:4, :4] = 255
        label[10, 10] = label[100, 3] = 1
        return label

    monkeypatch.setattr(prepared, "label", with_specks)
    assert small_objects(prepared) == whole
    monkeypatch.setattr(prepared, "label", lambda case: np.zeros((8, 8), np.uint8))
    assert small_objects(prepared) is None


def test_masks_are_looked_at_up_to_a_number_spread_evenly(tmp_path, monkeypatch):
    prepared = disks(tmp_path / "set", side=32, radii=(5,), train=12, gold=2)
    seen = []
    monkeypatch.setattr(auto, "MOST_CASES", 5)
    monkeypatch.setattr(prepared, "label", lambda case: seen.append(case.id) or np.ones((8, 8), np.uint8))
    small_objects(prepared)
    assert len(seen) == 5
    assert (seen[0], seen[-1]) == ("train0", "gold1")


def test_two_cores_get_what_the_preset_small_has(tmp_path):
    prepared = disks(tmp_path / "set", side=256, radii=(40,), train=160)
    values, choice = chosen(prepared)
    assert values == {"epochs": 40, "batch": 8, "gold_batch": 8, "size": 96, "width": 16}
    assert choice.sentence.startswith(
        "96 px (objects of 80 px and more keep 30), width 16, batch 8, 40 epochs"
    )


def test_small_objects_get_a_larger_grid_within_bounds_and_never_beyond_the_images(tmp_path):
    small = disks(tmp_path / "small", side=512, radii=(11, 60))
    assert chosen(small)[0]["size"] == 160
    assert chosen(small, SIXTEEN_CORES)[0]["size"] == 160
    assert chosen(small, GPU)[0]["size"] == 256
    tiny = disks(tmp_path / "tiny", side=512, radii=(3, 60))
    values, choice = chosen(tiny)
    assert values["size"] == 160
    assert "only 1." in choice.sentence
    assert "a larger --training.size keeps more" in choice.sentence
    assert chosen(disks(tmp_path / "little", side=40, radii=(3, 9)), GPU)[0]["size"] == 64


def test_many_images_get_fewer_epochs_and_a_narrower_network_not_days(tmp_path, monkeypatch):
    prepared = disks(tmp_path / "set", side=96, radii=(20,))
    epochs = {}
    for count in (6, 300, 1000, 20_000):
        monkeypatch.setattr(auto, "_count", lambda prepared, solid, count=count: count)
        values, _ = chosen(prepared)
        epochs[count] = (values["epochs"], values["width"])
    assert epochs == {6: (100, 16), 300: (40, 16), 1000: (12, 16), 20_000: (10, 8)}
    assert chosen(prepared, SIXTEEN_CORES)[0]["epochs"] > 10


def test_a_gpu_gets_what_its_memory_holds(tmp_path):
    prepared = disks(tmp_path / "set", side=300, radii=(40,))
    widths = {
        gigabytes: chosen(prepared, replace(GPU, memory=gigabytes * 2**30))[0]["width"]
        for gigabytes in (80, 24, 8)
    }
    assert widths == {80: 64, 24: 32, 8: 16}
    values, _ = chosen(prepared, replace(GPU, memory=2 * 2**30))
    assert (values["batch"], values["gold_batch"]) == (4, 4)


def test_what_was_said_is_kept_and_the_rest_fitted_to_it(tmp_path, monkeypatch):
    prepared = disks(tmp_path / "set", side=256, radii=(40,))
    monkeypatch.setattr(auto, "_count", lambda prepared, solid: 300)
    assert chosen(prepared, size=256)[0].keys() == {"epochs", "batch", "gold_batch", "width"}
    assert chosen(prepared, size=256)[0]["width"] == 8  # sixteen would leave too few epochs
    wide, _ = chosen(prepared, said=("network.width",), network=NetworkOptions(width=32))
    assert "width" not in wide
    assert wide["epochs"] < 40
    _, choice = chosen(prepared, epochs=3)
    assert "epochs" not in choice.training
    assert choice.epochs == 3
    assert "3 epochs" in choice.sentence
    own = NetworkOptions(class_path="tests.unit.training.helpers.TinyNetwork")
    assert "width" not in chosen(prepared, network=own)[1].sentence
    values, choice = chosen(prepared, network=NetworkOptions(name="maxformer"))
    assert "width" not in values
    assert "), maxformer small, batch" in choice.sentence


def test_the_batch_can_be_shared_by_all_devices(tmp_path):
    prepared = disks(tmp_path / "set")
    assert chosen(prepared, said=("training.devices",), batch=3, gold_batch=3, devices=3)[0]["size"] == 96
    options = TrainingOptions(batch=9, gold_batch=9, devices=3)
    assert choose(prepared, NetworkOptions(), options, {"training.devices"}, TWO_CORES).training["batch"] == 9


def test_volumes_get_a_grid_of_their_own(monkeypatch):
    case = SimpleNamespace(height=160, width=160)
    volumes = [SimpleNamespace(role="train")] * 9
    prepared = SimpleNamespace(
        select=lambda role: [case] * 20 if role == "train" else [],
        label=lambda case: np.pad(np.ones((40, 40), np.uint8), 60),
        volumes=volumes,
        slices_of=lambda volume: [case] * 20,
    )
    solid = NetworkOptions(spatial_dims=3)
    values, choice = chosen(prepared, network=solid)
    assert values == {"epochs": 66, "batch": 2, "gold_batch": 2, "size": 64, "depth": 32, "width": 8}
    assert choice.sentence.startswith("32 x 64 x 64 voxels")
    assert chosen(prepared, GPU, network=solid)[0]["size"] == 128
    patches, _ = chosen(prepared, network=solid, patch=(16, 32, 32))
    assert patches["epochs"] == 100  # patches are cheaper


def test_the_same_set_and_machine_always_get_the_same(tmp_path):
    prepared = disks(tmp_path / "set", radii=(20, 5))
    assert chosen(prepared) == chosen(PreparedSet.open(tmp_path / "set"))


@pytest.mark.parametrize(
    ("options", "way"),
    [({}, "--network.width, "), ({"name": "maxformer"}, "--network.size, "), ({"class_path": "a.B"}, "")],
)
def test_the_way_out_is_an_option_that_the_network_has(options, way):
    on = {"device": "cpu", "threads": 1}
    line = announce("x", None, 1, 1, 3.0, TrainingOptions(), on, NetworkOptions(**options))
    assert f"change with --training.size, {way}--epochs" in line
