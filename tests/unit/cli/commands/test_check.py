import json

import numpy as np
from tests.unit.data.folders import disc, make_folder, save, write

from metadcseg.cli.main import main


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
    assert err == ""


def test_test_masks_that_nobody_verified_are_a_warning(tmp_path, capsys):
    folder = make_folder(tmp_path / "mine", gold=5)
    assert main(["check", str(folder)]) == 0
    out = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "1 of 1 test mask is not verified" in out
    assert "gold/" in out
    assert "splits.csv" in out
    assert "0 errors, 1 warning, 0 notes: ready" in out


def test_errors_come_first_and_those_of_one_kind_are_one_line(tmp_path, capsys):
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
