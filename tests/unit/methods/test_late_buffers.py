"""Buffers that come late take what was saved, where it can be theirs."""

import pytest
import torch
from torch import zeros

from metadcseg.errors import InputError
from metadcseg.methods.adele import EarlyLearning
from metadcseg.methods.annotator_pairs import AnnotatorPairTable
from metadcseg.methods.binned.binned_weights import BinnedWeights
from metadcseg.methods.calibrated.evidence import LEVELS, GoldEvidence
from metadcseg.methods.calibrated.shares import MatchedShares
from metadcseg.methods.confusion import Confusion
from metadcseg.methods.pair_table import BINS, FAR, PairTable
from metadcseg.tensors import Batch
from metadcseg.warp import Warp

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


@pytest.mark.parametrize("module", MODULES, ids=lambda module: type(module).__name__)
def test_a_state_of_other_classes_is_refused(module):
    sizes = {"K": 3, "L": 4, "E": 5, "cells": 16 * (FAR + 1) * LEVELS}
    saved = {
        name: zeros([sizes.get(letter, letter) for letter in size]) for name, size in module._sizes.items()
    }
    module.check_classes(2)  # nothing was loaded yet
    module.load_state_dict(saved)
    module.check_classes(4)
    with pytest.raises(ValueError, match=r"where (L|cells) is"):
        module.check_classes(3)


def test_a_table_of_other_gold_images_is_refused():
    given, verified = torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 0, 0, 1]]])
    pair = Batch(zeros(1, 1, 1, 4), verified, torch.arange(1), Warp.identity(1), given=given)
    held, table = PairTable(3), PairTable(1)
    held.update(pair, classes=2)
    table.load_state_dict(held.state_dict())
    with pytest.raises(InputError, match="has 3 pairs, not 1"):
        table.update(pair, classes=2)
    for kind in (PairTable, AnnotatorPairTable):
        other = kind(2)
        other.load_state_dict(held.state_dict())
        with pytest.raises(ValueError, match="3 pairs, where there are 2 gold images"):
            other.check_classes(2)
