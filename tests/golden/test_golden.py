"""The same seed and options give the same bits as before the source tree was moved and renamed."""

import pytest
from tests.golden import cases
from tests.golden.compare import GOLDEN, assert_same_run, assert_same_set


@pytest.fixture(scope="module")
def workshop(tmp_path_factory):
    """Makes the sets, each once for all cases of this file."""
    return cases.Workshop(tmp_path_factory.mktemp("golden"))


def test_nothing_is_left_out():
    assert GOLDEN["sets"].keys() == cases.SETS.keys()
    assert all(record["runs"].keys() == cases.RUNS.keys() for record in GOLDEN["records"])


def test_each_training_guards_something_of_its_own():
    """Runs with equal bits would say that an option does nothing in them."""
    for record in GOLDEN["records"]:
        assert len({(run["model"], run["network"]) for run in record["runs"].values()}) == len(cases.RUNS)


@pytest.mark.parametrize("name", cases.SETS)
def test_a_set_is_as_it_was(name, workshop):
    assert_same_set(cases.look_at_set(workshop.set(name)), name)


@pytest.mark.parametrize("name", cases.RUNS)
def test_a_training_is_as_it_was(name, workshop, tmp_path):
    assert_same_run(cases.look_at_run(workshop.train(name, tmp_path / "run")), name)
