import json

import numpy as np
from tests.unit.data.folders import disc, make_folder, save

from metadcseg.cli.main import main


def test_a_clean_folder_is_ready(tmp_path, capsys):
    folder = make_folder(tmp_path / "[bold]mine:smile:", gold=5)
    assert main(["check", str(folder)]) == 0
    out, err = capsys.readouterr()
    assert (
        out == f"{folder}: 12 cases (5 train, 5 gold, 1 val, 1 test), 0 errors, 0 warnings, 0 notes: ready\n"
    )
    assert err == ""


def test_errors_come_first_and_only_so_many_are_shown(tmp_path, capsys):
    folder = make_folder(tmp_path / "mine", count=60)
    for path in (folder / "masks").iterdir():
        save(path, disc(value=9))
    save(folder / "masks" / "extra.png", disc())
    assert main(["check", str(folder)]) == 2
    out = capsys.readouterr().out
    assert "mend the errors first" in out
    assert "... and 22 more (--json shows all)" in out
    assert "warning │" not in out  # 60 errors fill the 40 lines
    assert main(["check", str(folder), "--json"]) == 2
    report = json.loads(capsys.readouterr().out)
    assert report["counts"] == {"error": 60, "warning": 2, "note": 0}
    assert len(report["findings"]) == 62


def test_what_a_remap_would_do(tmp_path, capsys):
    folder = make_folder(tmp_path / "mine", gold=0)
    for path in (folder / "masks").iterdir():
        save(path, disc(value=900, dtype=np.uint16))
    assert main(["check", str(folder)]) == 2
    assert main(["check", str(folder), "--remap", "900:1"]) == 0
    assert main(["check", str(folder), "--remap", "900"]) == 2
    assert "--remap must look like" in capsys.readouterr().err
