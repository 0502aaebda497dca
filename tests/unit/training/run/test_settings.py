"""Runs of an earlier version go on where an option was added since, and only with its default."""

import copy
import json
from dataclasses import asdict

import pytest

from metadcseg.methods import create_method
from metadcseg.networks import NetworkOptions
from metadcseg.training import TrainingOptions
from metadcseg.training.run.identity import earlier_versions
from metadcseg.training.run.settings import differences

ADDED = [
    ("network", ("activation",), "relu"),
    ("training", ("precision",), "bf16-mixed"),
    ("training", ("augment", "rotation"), 90.0),
]


def told(method="binned"):
    held = {
        "method": method,
        "options": asdict(create_method(method)),
        "seed": 0,
        "set": {"fingerprint": "x"},
        "network": asdict(NetworkOptions("unet", width=4)),
        "training": asdict(TrainingOptions()),
    }
    return json.loads(json.dumps(held))


def within(info, group, path):
    tree = info[group]
    for name in path[:-1]:
        tree = tree[name]
    return tree


@pytest.mark.parametrize(("group", "path", "other"), ADDED)
def test_an_option_that_was_added_counts_as_its_default(group, path, other):
    there, now = told(), told()
    del within(there, group, path)[path[-1]]
    before = copy.deepcopy(there)
    assert differences(there, now) == []
    assert there == before
    within(now, group, path)[path[-1]] = other
    (found,) = differences(there, now)
    assert path[0] in found


def test_every_option_of_a_method_may_have_been_added():
    now = told()
    for name in now["options"]:
        there = told()
        del there["options"][name]
        assert differences(there, now) == [], name


def test_an_option_that_is_gone_is_a_difference():
    there = told()
    there["training"]["old"] = 1
    assert differences(there, told()) == ["training.old: 1 there, nothing now"]


@pytest.mark.parametrize(("content", "fingerprint", "found"), [("c", "y", 0), ("d", "y", 1), (None, "y", 1)])
def test_a_run_goes_on_where_edges_alone_round_otherwise(content, fingerprint, found):
    there, now = told(), told()
    there["set"]["content"], now["set"] = "c", {"fingerprint": fingerprint, "content": content}
    assert len(differences(there, now)) == found


def test_versions_are_kept_in_order():
    there = {"versions": {"torch": "1"}}
    for number in (1, 2, 2, 3):
        now = {"versions": {"torch": str(number)}}
        there = now | earlier_versions(there, now)
    assert there == {"versions": {"torch": "3"}, "earlier_versions": [{"torch": "1"}, {"torch": "2"}]}
    assert earlier_versions(None, there) == {}
