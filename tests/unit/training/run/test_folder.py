import json
import subprocess
import sys

import pytest
from tests.unit.training.helpers import Fake, TinyNetwork, run

from metadcseg.errors import InputError
from metadcseg.training import load_run, prediction_state, read_run


@pytest.fixture
def out(disks, tmp_path, registered):
    run(disks, tmp_path / "run", changed={"epochs": 1})
    return tmp_path / "run"


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(InputError, match="is not the folder of a run"):
        read_run(tmp_path)


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "null", '{"method": "fake"}', '{"format": 9}'])
def test_a_damaged_record_is_one_sentence(out, content):
    (out / "run.json").write_text(content)
    with pytest.raises(InputError, match=r"run\.json.*; restore the file, or train again"):
        load_run(out, trust_code=True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"set": 3}, "'set' must be an object"),
        ({"method": ["a"]}, "'method' must be text or null, got a list"),
        (
            {"set": {"path": "x", "fingerprint": "x", "classes": ["a"], "channels": 1}},
            "'set.classes' must be a list",
        ),
        ({"network": {"width": "wide"}}, "'network.width' must be a whole number or null, got 'wide'"),
        ({"network": {"spatial_dims": 4}}, "'network.spatial_dims' must be one of 2, 3, got 4"),
        ({"training": {"size": 10**12, "depth": 1}}, "'training.size' must be a whole number <= 16384"),
        (
            {"training": {"size": 32, "depth": 1, "patch": [1, 2]}},
            "'training.patch' must be a list of length 3",
        ),
        ({"training": {"size": 32, "depth": 1}}, "names options that no run has"),
        ({"options": {"no": 7}}, "names options that no run has"),
        ({"epochs_done": -1}, "'epochs_done' must be a whole number >= 0"),
        ({"seed": 1e300}, "'seed' must be a whole number"),
    ],
)
def test_a_record_of_wrong_types_names_the_field(out, change, says):
    held = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps(held | change))
    with pytest.raises(InputError) as found:
        load_run(out, trust_code=True)
    assert says in str(found.value)


def test_weights_of_another_network(out):
    from metadcseg.training.run.model_file import load_weights, save_weights

    weights, facts = load_weights(out / "model.safetensors")
    weights.pop(next(iter(weights)))
    save_weights(out / "model.safetensors", weights, facts)
    with pytest.raises(InputError, match="not those of the network"):
        load_run(out, trust_code=True)


def test_predicting_cannot_train():
    state = prediction_state(TinyNetwork())
    with pytest.raises(RuntimeError):
        state.updater.step()


def test_weights_of_a_first_try_that_came_to_nothing_are_not_kept(disks, tmp_path):
    out = tmp_path / "run"
    with pytest.raises(InputError, match="epoch 1, step 1"):
        run(disks, out, Fake(poison=0))
    (out / "weights").mkdir()
    (out / "weights/alpha.npy").write_bytes(b"of the first try")
    run(disks, out)
    assert not (out / "weights").exists()


@pytest.mark.parametrize(
    ("module", "library"),
    [("metadcseg.evaluation.evaluate", "lightning_fabric"), ("metadcseg.cli.commands.train", "matplotlib")],
)
def test_nobody_waits_for_libraries_that_are_not_used(module, library):
    code = f"import sys, {module}; sys.exit('{library}' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epochs_done": 0}, "no epoch is done yet: go on with 'metadcseg train --resume"),
        (
            {"epochs_done": 5},
            "after 5 epochs no validation has chosen weights, which is due every 9 and at the last: go on with "
            "'metadcseg train --resume",
        ),
        ({"epochs_done": 9, "best": {"epoch": 8, "dsc": 0.5, "iou": 0.4}}, "is not there any more: restore"),
    ],
)
def test_weights_that_are_not_there_are_late_or_lost(out, change, says):
    (out / "model.safetensors").unlink()
    held = json.loads((out / "run.json").read_text()) | {"best": None} | change
    held["training"]["validate_every"] = 9
    (out / "run.json").write_text(json.dumps(held))
    with pytest.raises(InputError) as found:
        load_run(out, trust_code=True)
    assert says in str(found.value)
