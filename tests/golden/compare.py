"""What counts as the same: every bit of a record where the machine rounds as that of the record, elsewhere little more.

Processors with the same vectors can round otherwise, since MKL and oneDNN choose kernels by the model. So golden.json
holds records of several machines.
"""

import json
from pathlib import Path

import pytest
from tests.golden import cases

GOLDEN = json.loads((Path(__file__).resolve().parent / "golden.json").read_text())

TOLERANCE = {"rel": 2e-2, "abs": 2e-2}
"""Measured with vectors of AVX2 and of SSE 4.1 against AVX-512: nearly all scalars differ by less than 1e-3, but where
an arg max tips over by about 1e-2."""

TIPS_OVER = ("effective_boundary_pixels", "boundary")
"""Means that a single pixel can change by a third: compared in bits only."""

CHAOTIC = ("solid",)
"""Runs in which a pixel that tips over changes all that follows: compared in bits only."""


def alike(record):
    """Return whether this machine rounds as that of a record does; one that does not say how is never known to."""
    return cases.machine() == record["machine"]


def assert_same_run(found, name):
    """Compare what :func:`cases.look_at_run` says with the records of a run of ``cases.RUNS``."""
    records = GOLDEN["records"]
    if any(found == record["runs"][name] for record in records):
        return
    for record in records:
        if alike(record):
            assert found == record["runs"][name]
    if name not in CHAOTIC:
        assert_nearly_same_run(found, records[0]["runs"][name])
    not_in_bits(record["machine"] for record in records)


def assert_same_old_run(found, name):
    """The same for a run of before the rename."""
    old = GOLDEN["old"]
    if found == old["runs"][name]:
        return
    assert not alike(old)
    assert_nearly_same_run(found, old["runs"][name])
    not_in_bits([old["machine"]])


def assert_nearly_same_run(found, wanted):
    """Compare the scalars of two runs."""
    assert len(found["epochs"]) == len(wanted["epochs"])
    for epoch, before in zip(found["epochs"], wanted["epochs"], strict=True):
        assert epoch["train"].keys() == before["train"].keys()
        for name in before["train"].keys() - set(TIPS_OVER):
            assert epoch["train"][name] == pytest.approx(before["train"][name], **TOLERANCE), name
        assert epoch["val"] == pytest.approx(before["val"], **TOLERANCE)


def assert_same_set(found, name):
    """Compare what :func:`cases.look_at_set` says with the record; hashes are equal or say nothing."""
    wanted = GOLDEN["sets"][name]
    if found == wanted:
        return
    assert found.keys() == wanted.keys()
    machines = [record["machine"] for record in GOLDEN["records"]]
    assert not any(
        cases.machine() | {"rounding": None} == machine | {"rounding": None} for machine in machines
    ), "all machines of the records made this set with equal bits"
    not_in_bits(machines)


def not_in_bits(machines):
    """Say that the bits were not compared."""
    pytest.skip(
        f"compared roughly, not in bits: the records are of {list(machines)}, this is {cases.machine()}"
    )
