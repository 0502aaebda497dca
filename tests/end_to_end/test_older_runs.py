"""Runs that an earlier version wrote, which lacks options of today."""

import json

from tests.end_to_end.tools import done, refused, train
from tests.unit.training.helpers import make_set


def test_a_run_of_an_earlier_version_is_resumed(tmp_path):
    out = tmp_path / "run"
    data = make_set(tmp_path / "disks", train=4, gold=2, val=1).path
    done(*train(data, out, "--method", "supervised"))
    info = json.loads((out / "run.json").read_text())
    for group, name in (("options", "dice"), ("network", "spatial_dims"), ("training", "ema_decay")):
        del info[group][name]
    info["versions"]["metadcseg"] = "0.0.1"
    (out / "run.json").write_text(json.dumps(info))
    refused(
        "train",
        "--resume",
        out,
        "--epochs",
        2,
        "--supervised.dice",
        0.9,
        says=["supervised.dice"],
        alone=False,
    )
    done("train", "--resume", out, "--epochs", 2)
    after = json.loads((out / "run.json").read_text())
    assert after["epochs_done"] == 2
    assert [held["metadcseg"] for held in after["earlier_versions"]] == ["0.0.1"]
