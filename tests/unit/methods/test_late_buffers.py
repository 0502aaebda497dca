"""Buffers that come late take what was saved, where it can be theirs."""

import pytest
from torch import zeros

from metadcseg.methods.adele import EarlyLearning
from metadcseg.methods.binned.binned_weights import BinnedWeights
from metadcseg.methods.calibrated.evidence import GoldEvidence
from metadcseg.methods.calibrated.shares import MatchedShares
from metadcseg.methods.confusion import Confusion
from metadcseg.methods.pair_table import BINS, PairTable

MODULES = [
    PairTable(3),
    GoldEvidence(2),
    MatchedShares(),
    Confusion(by_distance=True),
    BinnedWeights(dict, 0.1, True),
    EarlyLearning(0.9, 10),
]


@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
@pytest.mark.parametrize("foreign", [zeros(3), zeros(2, 3), zeros(()), zeros(1, 2, 3, 4, 5)])
def test_a_state_of_other_sizes_is_refused(module, foreign):
    saved = module.state_dict()
    module.load_state_dict(saved)  # before the first batch
    for name in saved:
        with pytest.raises(ValueError, match="must have the sizes"):
            module.load_state_dict(saved | {name: foreign})


def test_a_letter_is_the_same_number_everywhere():
    table = PairTable(3)
    held = zeros(3, 2, 2, BINS)
    table.load_state_dict({"pixels": held, "truly": held})
    assert table.truly.shape == held.shape
    with pytest.raises(ValueError, match=r"'truly' must have the sizes \(K, L, L, "):
        table.load_state_dict({"pixels": held, "truly": held[:2]})
