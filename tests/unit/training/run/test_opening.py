import pytest

from metadcseg.training.run.opening import lacking_pairs


def record(gold, pairs=0, uses_pairs=False, meta="auto", dims=2):
    held = {"cases": {"gold": gold}, "volumes": {"gold": gold}, "pairs": {"cases": pairs, "volumes": pairs}}
    return {
        "method": "calibrated",
        "options": {"meta": meta},
        "declaration": {"uses_pairs": uses_pairs},
        "network": {"spatial_dims": dims},
        "set": held,
    }


@pytest.mark.parametrize(("gold", "dims", "said"), [(1, 2, "1 gold case,"), (2, 3, "2 gold volumes,")])
def test_gold_alone_that_is_too_little_to_speak_is_said(gold, dims, said):
    warning = lacking_pairs(record(gold, dims=dims))
    assert warning is not None
    assert said in warning
    assert "trusts every label" in warning


def test_gold_that_can_speak_or_was_told_not_to_is_not_warned_of():
    assert lacking_pairs(record(3)) is None
    assert lacking_pairs(record(1, meta="never")) is None
    assert lacking_pairs(record(2, pairs=2, uses_pairs=True)) is None
