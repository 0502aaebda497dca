"""What runs of version 0.1 are called today."""

import json
import tarfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from metadcseg.methods import METHODS, create_method
from metadcseg.networks import NetworkOptions
from metadcseg.results.upgrade import upgraded, upgraded_checkpoint
from metadcseg.training.options import TrainingOptions

RESULTS = Path(__file__).parents[3] / "results"

DEFAULT: dict[str, Any] = {
    "eta": 0.01,
    "meta_scaling": "rms",
    "normalisation": "image",
    "memory": "shared",
    "doubt": 0.1,
    "pardon": True,
    "pseudo_labels": "average",
    "virtual_step": "linearised",
    "meta_every": 2,
    "tangents": "all",
    "gold_momentum": 0.9,
    "clean_supervision": True,
    "cross_fit": True,
    "dice": "weighted",
    "warmup": 3,
    "regions": "foreground",
    "boundary_ratio": 0.11,
    "tau": None,
    "edge_threshold": 0.25,
    "temperature": 20.0,
    "lambda_boundary": 0.33,
    "lambda_dice": 0.12,
    "detach_boundary_weights": True,
    "min_region_pixels": 10,
    "dcd_maximum": 100.0,
    "meta": True,
    "dcd": True,
}
PAPER = DEFAULT | {
    "memory": "persistent",
    "pseudo_labels": "current",
    "virtual_step": "exact",
    "meta_every": 1,
    "gold_momentum": 0.0,
    "dice": "given",
    "cross_fit": False,
    "clean_supervision": False,
}


def old(options: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "method": "metadcseg",
        "label": "metadcseg",
        "options": options,
        "network": {"width": 8, "encoder": []},
        "training": {"average": 0.9, "lr": 0.1},
        **more,
    }


def test_the_default_of_before_is_binned():
    found = upgraded(old(DEFAULT))
    assert (found["method"], found["label"]) == ("binned", "binned")
    layers = {"upsampling": "learned", "activation": "leaky_relu"}
    assert found["network"] == {"width": 8, **layers, "size": None, "pretrained": None}
    assert found["training"] == {"ema_decay": 0.9, "lr": 0.1, "outlines": "fused", "workers": 0}
    assert "unresumable" not in found
    assert found["options"] == {
        "min_runner_up_probability": 0.1,
        "discount_symmetric_noise": True,
        "pseudo_labels": "ema",
        "virtual_step": "linearized",
        "forward_mode": "auto",
        **{name: DEFAULT[name] for name in ("meta_every", "gold_momentum", "clean_supervision")},
        **{name: DEFAULT[name] for name in ("cross_fit", "dice", "warmup", "regions", "boundary_ratio")},
        **{name: DEFAULT[name] for name in ("tau", "edge_threshold", "temperature", "lambda_boundary")},
        **{name: DEFAULT[name] for name in ("lambda_dice", "detach_boundary_weights", "meta", "dcd")},
    }


def test_a_pair_per_pixel_with_the_papers_readings_is_metadcseg():
    found = upgraded(old(PAPER))
    assert (found["method"], found["label"]) == ("metadcseg", "metadcseg")
    assert "unresumable" not in found
    assert found["options"]["normalization"] == "image"
    assert found["options"]["eta"] == 0.01
    assert not {"memory", "dice", "doubt", "cross_fit", "min_runner_up_probability"} & found["options"].keys()
    # without gold in the training loss nobody takes turns, whatever the option says
    assert "unresumable" not in upgraded(old(PAPER | {"cross_fit": True}))


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (DEFAULT | {"tangents": "head"}, "tangents 'head'"),
        (DEFAULT | {"dcd_maximum": 50.0}, "dcd_maximum 50.0"),
        (PAPER | {"memory": "none"}, "memory 'none'"),
        (PAPER | {"pseudo_labels": "average", "meta_every": 2}, "pseudo_labels 'ema', meta_every 2"),
        (PAPER | {"cross_fit": True, "clean_supervision": True}, "cross_fit True"),
    ],
)
def test_what_no_method_can_go_on_with_is_said(options: dict[str, Any], why: str):
    assert upgraded(old(options))["unresumable"] == why


def test_a_name_that_a_run_was_given_stays():
    assert upgraded(old(DEFAULT, label="MetaDCSeg"))["label"] == "MetaDCSeg"


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"method": "metadcseg", "options": None, "training": 3},
        {
            "method": "metadcseg",
            "options": {"eta": 0.1, "forward_mode": "engine"},
            "training": {"ema_decay": 0.9, "outlines": "fused", "workers": 0},
        },
        {"method": "supervised", "options": {"memory": "shared"}},
    ],
)
def test_a_run_of_today_and_a_damaged_one_stay_as_they_are(info: dict[str, Any]):
    assert upgraded(info) == info
    once = upgraded(old(DEFAULT))
    assert upgraded(once) == once


@pytest.mark.parametrize(
    ("method", "options"),
    [
        ("glc", {"matrix": "pairs", "warmup": 15}),
        ("hamil", {"warmup": 25}),
        ("trinet", {"pairs": False}),
        ("coteaching", {"pairs": False}),
    ],
)
def test_options_that_a_method_got_later_are_as_they_were_for_all(method: str, options: dict[str, Any]):
    assert upgraded({"method": method, "options": {"dice": 0.5}})["options"] == {"dice": 0.5, **options}
    assert create_method(method, **options) == create_method(
        method
    )  # so a run goes on with what is the default


@pytest.mark.parametrize(
    ("method", "options", "asked"),
    [
        ("l2b", {"clean_supervision": True}, True),
        ("binned", {"meta": True}, True),
        ("calibrated", {"pairs": False, "stand_in": 8}, True),
        ("calibrated", {"pairs": True, "stand_in": 8}, False),
        ("supervised", {"gold": "mixed"}, False),
    ],
)
def test_whether_gold_was_asked_is_known_of_earlier_runs(method: str, options: dict[str, Any], asked: bool):
    declared = {"needs_gold": True, "supervises_gold": True}
    found = upgraded({"method": method, "options": options, "declaration": declared})["declaration"]
    assert found["asks_gold"] == asked == create_method(method, **options).info.asks_gold
    assert upgraded({"method": method, "options": options, "declaration": {"asks_gold": not asked}})[
        "declaration"
    ] == {"asks_gold": not asked}


@pytest.mark.parametrize(
    ("options", "meta", "why"),
    [
        ({"pairs": True, "meta": "auto", "match_shares": True}, False, None),
        ({"pairs": False, "meta": "auto", "match_shares": True}, True, None),
        ({"pairs": True, "meta": "always", "match_shares": True}, True, None),
        ({"pairs": False, "meta": "never", "match_shares": True}, False, None),
        ({"pairs": True, "bound": 0.5, "like_pairs": True}, False, "bound 0.5, like_pairs True"),
    ],
)
def test_calibrated_before_stand_ins(options: dict[str, Any], meta: bool, why: str | None):
    found = upgraded({"method": "calibrated", "options": options})
    method = create_method("calibrated", **found["options"])
    assert (method.stand_in, method.meta, method.pairs) == (0, meta, options["pairs"])
    assert method.match_shares == (why is None)
    assert found.get("unresumable") == why
    assert upgraded(found) == found


@pytest.mark.parametrize(("pairs", "shrinks"), [(True, False), (False, True)])
def test_calibrated_took_directions_in_full_where_pairs_told_them(pairs: bool, shrinks: bool):
    for before in ({"stand_in": 8}, {}):
        found = upgraded({"method": "calibrated", "options": {"pairs": pairs, **before}})
        assert found["options"]["shrink_directions"] == shrinks
        assert upgraded(found) == found
    today = {"pairs": pairs, "stand_in": 8, "shrink_directions": not shrinks}
    assert upgraded({"method": "calibrated", "options": today})["options"] == today


def test_the_average_of_the_network_has_another_name_in_a_checkpoint():
    assert upgraded_checkpoint({"format": 3, "updater": {"steps": 1, "averaged": {}}}) == {
        "format": 3,
        "updater": {"steps": 1, "ema_model": {}},
    }


def names_of(options: Mapping[str, Any], above: str = "") -> set[str]:
    """Return the names of options at every depth."""
    below = [
        names_of(value, f"{above}{name}.") for name, value in options.items() if isinstance(value, Mapping)
    ]
    return {f"{above}{name}" for name in options}.union(*below)


def test_the_runs_that_are_kept_name_every_option_of_today():
    """Else another seed of their rows is taken for another training: the contract of a benchmark compares them."""
    lacking, runs = set(), 0
    for file in sorted(RESULTS.glob("*/records.tar.xz")):
        with tarfile.open(file) as records:
            for member in records:
                if not member.name.endswith("/run.json"):
                    continue
                run = upgraded(json.load(records.extractfile(member)))
                if run.get("external"):
                    continue
                today = {
                    "options": METHODS[run["method"]](),
                    "network": NetworkOptions(),
                    "training": TrainingOptions(),
                }
                for group, options in today.items():
                    lacking |= {
                        (file.parent.name, run["method"], name)
                        for name in names_of(asdict(options)) - names_of(run[group])
                    }
                runs += 1
    assert runs > 300
    assert not lacking
