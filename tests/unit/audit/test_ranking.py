"""Expected DSC, by hand."""

import numpy as np
import pytest

from metadcseg.audit.judged import judge
from metadcseg.audit.probability import Witnesses
from metadcseg.audit.ranking import dsc_interval, expected_dsc


def test_an_empty_mask_that_is_hardly_doubted_is_not_the_worst():
    given = np.zeros((2, 40, 40), np.uint8)
    faint = np.full((40, 40), 0.01, np.float32)  # sixteen pixels are expected in each slice, none is probable
    judged = judge(Witnesses(), given, [np.stack([1 - faint, faint])] * 2)
    assert judged.counts[0, 1] == pytest.approx(32)
    assert expected_dsc(judged.counts, judged.highest) == pytest.approx(0.99)
    low, high = dsc_interval(judged.counts, [], highest=judged.highest)
    assert (round(low, 3), high) == (0.795, 1.0)  # 0.99 - 1.96 * sqrt(0.01 * 0.99)


def test_of_an_object_that_was_left_out_no_overlap_is_expected():
    given, said = np.zeros((1, 8, 8), np.uint8), np.zeros((2, 8, 8), np.float32)
    said[1, 2:5, 2:5] = 0.9
    said[0] = 1 - said[1]
    given[0, 0, 0] = 255
    judged = judge(Witnesses(), given, [said])
    assert expected_dsc(judged.counts, judged.highest) == pytest.approx(0.1)
