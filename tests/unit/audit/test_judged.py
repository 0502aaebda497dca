"""The mask that is proposed is nearer the truth, or it is not proposed."""

import numpy as np
import pytest

from metadcseg.audit.judged import judge, nearest_mask
from metadcseg.audit.probability import Witnesses
from metadcseg.audit.ranking import expected_dsc


def expected(mask, posterior):
    sums = np.stack([posterior[:, mask == c].sum(axis=1) for c in range(len(posterior))])
    return expected_dsc(sums, posterior.max(axis=(1, 2)).astype(np.float64))


def test_the_mask_of_the_highest_expected_dsc_is_found():
    """Of all masks that are a threshold of P(foreground)."""
    foreground = np.random.default_rng(0).beta(0.5, 1.5, (1, 40)).astype(np.float32)
    posterior = np.stack([1 - foreground, foreground])
    peak, first = posterior.max(axis=(1, 2)).astype(np.float64), (foreground > 0.5).astype(np.uint8)
    given = np.zeros_like(first)
    sums = np.stack([posterior.sum(axis=(1, 2)), np.zeros(2)]).astype(np.float64)
    mask, hoped = nearest_mask(given, posterior, sums, peak)
    best = max(expected((foreground >= each).astype(np.uint8), posterior) for each in foreground[0])
    assert hoped == pytest.approx(expected(mask, posterior), abs=1e-6)
    assert expected(first, posterior) + 0.02 < hoped <= best + 1e-6
    assert best - hoped < 0.005


def test_a_slice_of_small_gain_stays_and_what_is_wrong_in_it_is_told_all_the_same():
    given = np.zeros((2, 8, 8), np.uint8)
    given[:, 2:6, 2:6] = 1
    said = np.full((2, 2, 8, 8), 0.02, np.float32)
    said[:, 1][given == 1] = 0.98
    said[0, 1, 2, 2] = 0.1  # one pixel too much
    said[1, 1, 2:4, 2:6] = 0.1  # half of it
    said[:, 0] = 1 - said[:, 1]
    judged = judge(Witnesses(), given, said, margin=0.1)
    assert 0 < judged.gains[0] < 0.1 < judged.gains[1]
    assert (judged.proposed[0] == given[0]).all()
    assert (judged.proposed[1] != given[1]).sum() == 8
    assert judged.wrong[0, 2, 2] == pytest.approx(0.9)
