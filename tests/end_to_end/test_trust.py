"""Runs, configs and grids from elsewhere: no command imports what they name without --trust-code."""

import json
import shutil
import sys

import pytest
import yaml
from tests.end_to_end.tools import cli, done, refused, train
from tests.unit.evaluation.fakes import write_fake_run, write_fake_set
from tests.unit.networks.test_consent import SOURCE

SAYS = ("names a network by its class, ", "--trust-code")


@pytest.fixture
def trap(tmp_path, monkeypatch):
    (tmp_path / "trap_of_a_run.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path / "trap_of_a_run.imported"
    sys.modules.pop("trap_of_a_run", None)


def naming(class_path, tmp_path):
    """A finished run whose run.json names a class."""
    folder = write_fake_run(tmp_path / "run", write_fake_set(tmp_path / "set"))
    info = json.loads((folder / "run.json").read_text())
    info["network"] |= {"class_path": class_path, "init_args": {"args": ["touch", str(tmp_path / "ran")]}}
    (folder / "run.json").write_text(json.dumps(info))
    return folder


@pytest.mark.parametrize("class_path", ["trap_of_a_run.Network", "subprocess.Popen"])
def test_a_class_of_any_kind_is_not_imported(class_path, trap, tmp_path):
    refused("evaluate", naming(class_path, tmp_path), says=SAYS, alone=False)
    assert not trap.exists()
    assert not (tmp_path / "ran").exists()


def test_no_command_imports_what_a_run_names(trap, tmp_path):
    run, other = naming("trap_of_a_run.Called", tmp_path), tmp_path / "other"
    for words in (
        ("predict", run, tmp_path / "set", "--out", other),
        ("evaluate", run),
        ("evaluate", run, "--cost"),
        ("evaluate", run, "--weights"),
        ("audit", run, "--out", other),
        ("audit", run, "--out", other, "--folds", 2),
        ("export", run, "--onnx", other),
        ("compare", run, write_fake_run(tmp_path / "second", write_fake_set(tmp_path / "b")), "--evaluate"),
        ("train", "--resume", run),
        ("train", "--data", tmp_path / "set", "--out", run, "--resume"),
        ("train", "--resume", run, "--config", "small"),
    ):
        refused(*words, says=[f"metadcseg: {run / 'run.json'} {SAYS[0]}", *SAYS], alone=False)
        for left in (tmp_path / "second", tmp_path / "b"):
            shutil.rmtree(left, ignore_errors=True)
    assert not trap.exists()
    assert not (tmp_path / "ran").exists()
    assert not other.exists()


@pytest.mark.parametrize(
    "network",
    [
        {"class_path": "trap_of_a_run.Called"},
        {"class_path": "trap_of_a_run.Network", "init_args": {"a": {"class_path": "trap_of_a_run.Called"}}},
        {"class_path": "subprocess.Popen", "init_args": {"args": ["touch", "ran"]}},
    ],
)
def test_no_command_imports_what_a_config_or_grid_names(network, trap, sets, tmp_path):
    config, out = tmp_path / "c.yaml", tmp_path / "out"
    config.write_text(yaml.safe_dump({"network": network}))
    refused(
        *train(sets.noisy, out, "--config", config), says=[f"metadcseg: --config {config} {SAYS[0]}", *SAYS]
    )
    refused("cross-validate", sets.clean, "--out", out, "--config", config, says=SAYS)
    config.write_text(yaml.safe_dump({"network": network, "trust-code": True}))
    refused(*train(sets.noisy, out, "--config", config), says=["unknown option 'trust-code'"])
    grid = tmp_path / "grid.yaml"
    rows = {"foreign": {"method": "supervised", "network": network}}
    grid.write_text(yaml.safe_dump({"sets": {"a": str(sets.clean)}, "rows": rows, "partial": "one row"}))
    refused("benchmark", grid, "--out", out, says=SAYS)
    assert not trap.exists()
    assert not out.exists()


@pytest.mark.parametrize(
    "values", [{"class_path": "trap_of_a_run.Called"}, {"a": [{"class_path": "trap_of_a_run.Called"}]}]
)
def test_arguments_of_a_trusted_class_stay_plain_values(values, trap, sets, tmp_path):
    """jsonargparse would import and call what a mapping of any type names."""
    network = {"class_path": "tests.unit.training.helpers.TinyNetwork", "init_args": {"x": values}}
    (tmp_path / "c.yaml").write_text(yaml.safe_dump({"network": network}))
    words = train(sets.noisy, tmp_path / "out", "--config", tmp_path / "c.yaml", "--trust-code")
    refused(*words, says=["unknown argument of tests.unit.training.helpers.TinyNetwork"])
    assert not trap.exists()


def test_what_was_trusted_is_recorded(tmp_path):
    run = write_fake_run(tmp_path / "run", write_fake_set(tmp_path / "set"))
    name = json.loads((run / "run.json").read_text())["trusted_code"]
    assert name == "tests.unit.evaluation.fakes.Brightness"
    assert done("evaluate", run, "--trust-code", "--json").json["trusted_code"] == name
    assert cli("evaluate", run).status == 2
