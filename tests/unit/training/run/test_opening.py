import pytest

from metadcseg.training.run.opening import too_little


def record(gold, pairs=0, uses_pairs=False, least_gold=1, dims=2, reads_gold=True):
    held = {"cases": {"gold": gold}, "volumes": {"gold": gold}, "pairs": {"cases": pairs, "volumes": pairs}}
    return {
        "method": "ours",
        "declaration": {
            "needs_gold": reads_gold,
            "supervises_gold": False,
            "uses_pairs": uses_pairs,
            "least_gold": least_gold,
        },
        "network": {"spatial_dims": dims},
        "set": held,
    }


@pytest.mark.parametrize(("gold", "dims", "said"), [(1, 2, "1 gold case,"), (2, 3, "2 gold volumes,")])
def test_gold_alone_that_is_too_little_to_speak_is_said(gold, dims, said):
    warning = too_little(record(gold, least_gold=3, dims=dims))
    assert warning is not None
    assert said in warning
    assert "trusts every label" in warning


@pytest.mark.parametrize(("pairs", "said"), [(0, "no gold case has"), (1, "only one gold case has")])
def test_pairs_that_are_too_few_are_said(pairs, said):
    assert said in (too_little(record(5, pairs=pairs, uses_pairs=True)) or "")


def test_what_is_enough_is_not_warned_of():
    assert too_little(record(3, least_gold=3)) is None
    assert too_little(record(1)) is None
    assert too_little(record(2, pairs=2, uses_pairs=True)) is None


def test_a_method_that_reads_no_gold_lacks_none():
    assert too_little(record(0, least_gold=1)) is not None
    assert too_little(record(0, least_gold=1, reads_gold=False)) is None
