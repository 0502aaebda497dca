"""The command as it is typed, on the run that other tests use."""

from tests.end_to_end.tools import cli, done, train

from metadcseg.training.run.folder import read_run


def test_audit_of_a_run(run, tmp_path):
    out = tmp_path / "audit"
    record = done("audit", run, "--out", out, "--accelerator", "cpu", "--json").json
    assert record["cases"] > 0
    assert record["witnesses"] == "pairs and network"
    assert {"auroc", "average_precision", "baselines"} <= record["detection"].keys()
    assert (out / "index.html").is_file()
    again = done("audit", run, "--out", out, "--accelerator", "cpu")
    assert "DSC with the truth" in again.out
    chosen = done("audit", out, "--next", 3, "--json").json["next"]
    assert len({row["case"] for row in chosen}) == 3
    assert "leave out --out" in cli("audit", out, "--next", 3, "--out", out).complaint
    assert "not the folder of a finished audit" in cli("audit", run, "--next", 3).complaint
    refused = cli("audit", run, "--out", out, "--accelerator", "cpu", "--threshold", 0.5)
    assert refused.status == 2
    assert "another threshold" in refused.complaint


def test_out_of_fold(sets, tmp_path):
    """Networks are trained without the cases that they judge; what is trained is not trained again."""
    run, out = tmp_path / "run", tmp_path / "audit"
    done(*train(sets.noisy, run, epochs=1))
    command = ("audit", run, "--out", out, "--accelerator", "cpu", "--folds", 2, "--json")
    record = done(*command).json
    assert record["network"] == "out of fold, 2"
    told = [read_run(out / "folds" / f"fold-{number}") for number in (1, 2)]
    counts = [info["set"]["cases"] for info in told]
    assert sum(count["train"] for count in counts) == record["cases"]  # each case in one of two trainings
    assert all(count["gold"] >= 2 for count in counts)
    (out / "audit.json").unlink()
    next((out / "cases").iterdir()).unlink()
    kept = (out / "folds" / "fold-1" / "model.safetensors").stat().st_mtime_ns
    assert done(*command, "--workers", 1).json == record
    assert (out / "folds" / "fold-1" / "model.safetensors").stat().st_mtime_ns == kept
