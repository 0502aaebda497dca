"""The grid of the demo: one that a benchmark takes, and that says what people are to do next."""

from importlib import resources

import pytest
import yaml

from metadcseg.benchmark.read_grid import grid_of
from metadcseg.cli.commands import demo
from metadcseg.cli.commands.benchmark import check_names
from metadcseg.cli.main import COMMANDS
from metadcseg.errors import InputError

HELD = yaml.safe_load(resources.files("metadcseg.benchmark").joinpath("demo.yaml").read_text("utf-8"))


def test_it_is_a_grid_with_all_honest_rows():
    grid = grid_of(HELD, "demo.yaml")
    check_names(grid, "demo.yaml")
    assert list(grid.rows) == ["noisy only", "noisy + gold", "clean + gold", "calibrated"]
    assert len(grid.tasks()) == 12
    assert "--gold 12" in grid.sets["phantom"]


def test_its_next_steps_are_commands_that_exist():
    commands = [line.split()[1] for line in HELD["next"] if line.startswith("metadcseg ")]
    assert len(commands) >= 5
    assert set(commands) <= set(COMMANDS)


def test_the_grid_is_written_once_so_that_a_changed_one_stays(tmp_path):
    file = demo._write_grid(tmp_path / "demo")
    assert yaml.safe_load(file.read_text()) == HELD
    file.write_text("name: mine\n")
    assert demo._write_grid(tmp_path / "demo").read_text() == "name: mine\n"


def test_a_place_that_cannot_be_written_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written .*give another --out"):
        demo._write_grid(tmp_path / "file" / "demo")
