import json

import numpy as np
import pytest
from tests.unit.data.folders import disc, make_folder, save, write

from metadcseg.cli.main import main
from metadcseg.data.prepare import reading


def test_a_clean_folder_is_ready(tmp_path, capsys):
    folder = make_folder(tmp_path / "[bold]mine:smile:", gold=6)
    roles = ["gold"] * 5 + ["test", "val"] + ["train"] * 5
    rows = [f"case{number:02d},{role}\n" for number, role in enumerate(roles)]
    write(folder / "splits.csv", "id,role\n" + "".join(rows))
    assert main(["check", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert (
        out.splitlines()[0]
        == f"{folder}: 12 cases (5 train, 5 gold, 1 val, 1 test), 6 pairs, 0 errors, 0 warnings, 0 notes: ready"
    )
    assert out.splitlines()[-1] == f"draw it, as a page: metadcseg diagnose '{folder}'"
    assert err == ""


def test_test_masks_that_nobody_verified_are_a_warning(tmp_path, capsys):
    folder = make_folder(tmp_path / "mine", gold=5)
    assert main(["check", str(folder)]) == 0
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "1 of 1 test mask is not verified" in out
    assert "gold/" in out
    assert "splits.csv" in out
    assert "0 errors, 1 warning, 0 notes: ready" in out


def test_errors_come_first_and_those_of_one_kind_are_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "400")  # where a line ends goes by how long the folder's name is, too
    folder = make_folder(tmp_path / "mine", count=60)
    for path in (folder / "masks").iterdir():
        save(path, disc(value=9))
    save(folder / "masks" / "extra.png", disc())
    assert main(["check", str(folder)]) == 2
    out = capsys.readouterr().out
    assert "mend the errors first" in out
    assert "--json names every file and case" in out
    kinds = [line.split("│")[1].strip() for line in out.splitlines() if line.startswith("│")]
    assert [kind for kind in kinds if kind] == ["error", "warning", "warning", "warning"]
    assert "60 masks hold an" in out
    assert "and 59 more" in out
    assert main(["check", str(folder), "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"error": 60, "warning": 3, "note": 0}
    assert len(report["findings"]) == 63


def test_what_a_remap_would_do(tmp_path, capsys):
    folder = make_folder(tmp_path / "mine", gold=0)
    for path in (folder / "masks").iterdir():
        save(path, disc(value=900, dtype=np.uint16))
    assert main(["check", str(folder)]) == 2
    assert main(["check", str(folder), "--remap", "900:1"]) == 0
    assert main(["check", str(folder), "--remap", "900"]) == 2
    assert "--remap must look like" in capsys.readouterr().err


OF_FOLDERS = ("--remap=1:2", "--ignore=9", "--val=0.2", "--image-key=a", "--resample-labels", "--gold=3")


@pytest.mark.parametrize("option", OF_FOLDERS)
def test_what_a_set_has_settled_is_refused(option, tmp_path, capsys):
    folder = make_folder(tmp_path / "mine", gold=6)
    prepared = tmp_path / "set"
    assert main(["prepare", str(folder), "--out", str(prepared), "--edges", "none"]) == 0
    assert main(["check", str(prepared)]) == 0
    capsys.readouterr()
    assert main(["check", str(prepared), option]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert option.partition("=")[0] in line
    assert "does not belong to 'check" in line


def test_pairs_that_a_set_leaves_out_are_said(tmp_path, capsys):
    """Of a corrupted set the pairs of gold alone count."""
    folder = make_folder(tmp_path / "mine", gold=6)
    roles = ["gold"] * 4 + ["test", "val"] + ["train"] * 6
    write(
        folder / "splits.csv", "id,role\n" + "".join(f"case{n:02d},{role}\n" for n, role in enumerate(roles))
    )
    prepared, noisy = tmp_path / "set", tmp_path / "noisy"
    assert main(["prepare", str(folder), "--out", str(prepared), "--edges", "none"]) == 0
    assert main(["corrupt", str(prepared), "--out", str(noisy), "--model", "over", "--rate", "0.2"]) == 0
    capsys.readouterr()
    assert main(["check", str(noisy)]) == 0
    out = capsys.readouterr().out
    assert "4 verified masks: the masks they replaced reach DSC" in out
    assert "note: 2 pairs of other roles left out" in out


def test_options_of_data_sets_are_refused_for_a_folder(tmp_path, capsys):
    folder = make_folder(tmp_path / "mine", gold=6)
    for words in (["--gold", "3"], ["--label", "masks/{case}.png"]):
        assert main(["check", str(folder), *words]) == 2
        assert f"{words[0]} does not belong to 'check" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["new\nline", "esc\x1b[2J", "bidi\u202e", "u\u0308", "日本"])
def test_names_of_files_change_no_terminal(name, tmp_path, capsys):
    folder = make_folder(tmp_path / "mine", gold=5)
    (folder / "images" / f"{name}.png").write_bytes(b"")
    save(folder / "masks" / f"{name}.png", disc())
    assert main(["check", str(folder)]) == 2
    shown = capsys.readouterr().out
    assert "1 error" in shown
    assert main(["prepare", str(folder), "--out", str(tmp_path / "set"), "--edges", "none"]) == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert "is empty: save it again" in said
    for sign in "\x1b\u202e":
        assert sign not in shown + said
    assert ("\\" in said) == ("\x1b" in name or "\u202e" in name)


@pytest.mark.parametrize("command", [["check"], ["diagnose"], ["prepare", "--out", "set"]])
def test_a_name_that_is_too_long_for_the_file_system_is_said(command, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main([command[0], "x" * 300, *command[1:]]) == 2
    assert "too long a name for the file system" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("length", [100, 200, 255])
def test_a_set_may_have_any_name_that_the_file_system_takes(length, tmp_path, capsys):
    folder = make_folder(tmp_path / "mine", gold=5)
    out = tmp_path / ("n" * length)
    assert main(["prepare", str(folder), "--out", str(out), "--edges", "none"]) == 0
    assert main(["check", str(out)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", out.name]


def test_masks_of_pairs_are_decoded_once(tmp_path, monkeypatch, capsys):
    """What check shows of pairs comes from what it has looked at, and is what diagnose says."""
    folder = make_folder(tmp_path / "f", gold=5)
    for number in range(5):
        save(folder / "masks" / f"case{number:02d}.png", np.roll(disc(), number % 3, axis=0))
    seen = []
    whole = reading.read_mask
    monkeypatch.setattr(reading, "read_mask", lambda path: (seen.append(path), whole(path))[1])
    assert main(["check", str(folder), "--workers", "1"]) == 0
    shown = capsys.readouterr().out
    assert len(seen) == len(set(seen)) == 12 + 5
    assert main(["diagnose", str(folder), "--out", str(tmp_path)]) == 0
    for line in capsys.readouterr().out.splitlines():
        assert line in shown
