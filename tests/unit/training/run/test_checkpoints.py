import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from metadcseg import files
from metadcseg.errors import InputError
from metadcseg.training.run.checkpoints import fits_run, load_checkpoint, save_checkpoint
from metadcseg.training.run.model_file import load_weights, save_weights
from metadcseg.training.run.state import TrainerState


def state(value):
    return {
        "values": torch.full((5000,), float(value)),
        "epoch": value,
        "nested": {"list": [1, None, "a", 0.5]},
    }


def test_what_is_saved_is_read_and_the_one_before_is_kept(tmp_path):
    assert load_checkpoint(tmp_path) is None
    for value in (1, 2, 3):
        save_checkpoint(tmp_path, state(value))
    loaded = load_checkpoint(tmp_path)
    assert torch.equal(loaded["values"], torch.full((5000,), 3.0))
    assert loaded["nested"] == {"list": [1, None, "a", 0.5]}
    assert torch.load(tmp_path / "previous.pt", weights_only=True)["epoch"] == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["last.pt", "previous.pt"]


def test_a_kill_between_the_two_renames_leaves_the_one_before(tmp_path):
    save_checkpoint(tmp_path, state(1))
    (tmp_path / "last.pt").rename(tmp_path / "previous.pt")
    assert load_checkpoint(tmp_path)["epoch"] == 1


def half(content):
    return content[: len(content) // 2]


def flipped(content):
    place = content.index(torch.full((4,), 2.0).numpy().tobytes()) + 4000
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


@pytest.mark.parametrize("damage", [half, flipped, lambda content: b"", lambda content: b"no zip at all"])
def test_damage_is_found_and_the_way_out_works(tmp_path, damage):
    save_checkpoint(tmp_path, state(1))
    save_checkpoint(tmp_path, state(2))
    last = tmp_path / "last.pt"
    last.write_bytes(damage(last.read_bytes()))
    with pytest.raises(InputError) as caught:
        load_checkpoint(tmp_path)
    sentence = str(caught.value)
    assert str(last) in sentence
    assert "delete last.pt and give --resume" in sentence
    assert "\n" not in sentence
    last.unlink()  # what the sentence says
    assert load_checkpoint(tmp_path)["epoch"] == 1


def test_every_flipped_byte_is_found_or_harmless(tmp_path):
    save_checkpoint(tmp_path, {"values": torch.arange(20.0)})
    content = (tmp_path / "last.pt").read_bytes()
    found = 0
    for place in range(0, len(content), 7):
        (tmp_path / "last.pt").write_bytes(
            content[:place] + bytes([content[place] ^ 255]) + content[place + 1 :]
        )
        try:
            assert torch.equal(load_checkpoint(tmp_path)["values"], torch.arange(20.0))
        except InputError:
            found += 1
    assert found > 20


def test_a_checkpoint_of_an_older_version_is_not_called_damaged(tmp_path):
    torch.save({"format": 1, "epoch": 3}, tmp_path / "last.pt")
    with pytest.raises(InputError) as caught:
        load_checkpoint(tmp_path)
    assert "checkpoint format 1, this version reads 4): go on with that version" in str(caught.value)
    assert "damaged" not in str(caught.value)


def test_nothing_that_needs_pickle_is_saved_or_read(tmp_path):
    with pytest.raises(TypeError, match=r"checkpoint\.parts\[0\]"):
        save_checkpoint(tmp_path, {"parts": [Path("x")]})
    assert list(tmp_path.iterdir()) == []
    torch.save({"format": 1, "evil": Path("x")}, tmp_path / "last.pt")
    with pytest.raises(InputError, match="damaged"):
        load_checkpoint(tmp_path)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_the_earlier_checkpoints_as_they_were(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, state(1))
    save_checkpoint(tmp_path, state(2))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    create = files.create_hidden

    def on_a_full_disk(folder):
        path, file = create(folder)
        file.close()
        return path, Path("/dev/full").open("wb")

    monkeypatch.setattr(files, "create_hidden", on_a_full_disk)
    with pytest.raises(InputError, match="the disk is full; what was saved before is intact"):
        save_checkpoint(tmp_path, state(3))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


LIMITED = """
import resource, signal, sys, torch
from pathlib import Path
from metadcseg.errors import InputError
from metadcseg.training.run.checkpoints import save_checkpoint
save_checkpoint(Path(sys.argv[1]), {"epoch": 1, "values": torch.zeros(10)})
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    save_checkpoint(Path(sys.argv[1]), {"epoch": 2, "values": torch.zeros(100_000)})
except InputError as error:
    sys.exit("refused" if "the disk is full" in str(error) else "other: " + str(error))
"""


def test_a_write_that_stops_short_is_found(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=False
    )
    assert done.stderr.strip() == "refused"
    assert [path.name for path in tmp_path.iterdir()] == ["last.pt"]
    assert load_checkpoint(tmp_path)["epoch"] == 1


def test_weights_carry_facts_and_a_checksum(tmp_path):
    path = tmp_path / "model.safetensors"
    weights = {
        "a": torch.arange(6.0).reshape(2, 3),
        "b": torch.tensor(3),
        "c": torch.ones(2, dtype=torch.bfloat16),
    }
    save_weights(path, weights, {"epoch": "4"})
    loaded, facts = load_weights(path)
    assert facts == {"epoch": "4"}
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"model\.safetensors: the weights are damaged \(its checksum"):
        load_weights(path)
    path.write_bytes(content[:40])
    with pytest.raises(InputError, match="damaged"):
        load_weights(path)
    path.unlink()
    with pytest.raises(InputError, match="there is no such file"):
        load_weights(path)


def test_a_compressed_entry_is_not_unpacked(tmp_path):
    save_checkpoint(tmp_path, {"values": torch.zeros(10)})
    with (
        zipfile.ZipFile(tmp_path / "last.pt") as old,
        zipfile.ZipFile(tmp_path / "new", "w", zipfile.ZIP_DEFLATED) as new,
    ):
        for entry in old.namelist():
            new.writestr(entry, old.read(entry))
    (tmp_path / "new").replace(tmp_path / "last.pt")
    with pytest.raises(InputError, match=r"last.pt: the checkpoint is damaged \(its entry .* is compressed"):
        load_checkpoint(tmp_path)


@pytest.mark.parametrize(
    "error", [KeyError("steps"), TypeError("x"), RuntimeError("size mismatch"), IndexError("x")]
)
def test_what_does_not_fit_the_run_is_one_sentence_with_the_way_out(tmp_path, error):
    save_checkpoint(tmp_path, {"values": 1})
    with (
        pytest.raises(InputError, match=r"last.pt: the checkpoint is not one of this run \(.*start again"),
        fits_run(tmp_path),
    ):
        raise error


POSITION = {
    "epoch": 1,
    "step": 0,
    "seconds": 1.0,
    "records": [{"epoch": 0, "seconds": 1.0, "loss": 2.0}],
    "best": None,
}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"epoch": "1"}, "'epoch' must be a whole number, got '1'"),
        ({"step": -1}, "'step' must be a whole number >= 0"),
        ({"step": 2**70}, "'step' must be a whole number <= "),
        ({"records": [{"epoch": 0}]}, "'records.0.' lacks 'seconds'"),
        ({"best": {"epoch": 0, "dsc": 2.0, "iou": 0.0}}, "'best.dsc' must be a number <= 1"),
        ({"best_weights": {"a": [1.0]}}, "must be Tensor"),
    ],
)
def test_a_position_of_wrong_types_names_the_field(change, says):
    assert TrainerState.read(POSITION | {"best_weights": {"a": torch.zeros(2)}}).epoch == 1
    with pytest.raises(InputError, match=f"its 'position': .*{says}"):
        TrainerState.read(POSITION | change)


@pytest.mark.parametrize("value", [torch.zeros(3), float("nan"), b"x"])
def test_a_line_that_cannot_be_written_again_is_not_read(value, tmp_path):
    save_checkpoint(tmp_path, {"values": 1})
    record = {"epoch": 0, "seconds": 1.0, "train": {"loss": value}}
    with pytest.raises(InputError, match="not one of this run"), fits_run(tmp_path):
        TrainerState.read(POSITION | {"records": [record]})
