"""The command as it is typed, on the run that other tests use."""

from tests.end_to_end.tools import cli, done


def test_audit_of_a_run(run, tmp_path):
    out = tmp_path / "audit"
    record = done("audit", run, "--out", out, "--accelerator", "cpu", "--json").json
    assert record["cases"] > 0
    assert record["witnesses"] == "pairs and network"
    assert {"auroc", "average_precision", "baselines"} <= record["detection"].keys()
    assert (out / "index.html").is_file()
    again = done("audit", run, "--out", out, "--accelerator", "cpu")
    assert "DSC with the truth" in again.out
    refused = cli("audit", run, "--out", out, "--accelerator", "cpu", "--threshold", 0.5)
    assert refused.status == 2
    assert "another threshold" in refused.complaint
