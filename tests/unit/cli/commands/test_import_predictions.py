"""What the command asks of its options before it reads a mask."""

import pytest

from metadcseg.cli.main import main


@pytest.mark.parametrize("split", ["val", "train"])
def test_a_row_of_a_benchmark_is_of_test_cases(tmp_path, capsys, split):
    words = ["import-predictions", "set", "--predictions", "masks", "--tool", "a", "--split", split]
    assert main([*words, "--benchmark", str(tmp_path / "bench")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"leave out --split {split}, or give --out FOLDER" in line
    assert not (tmp_path / "bench").exists()
