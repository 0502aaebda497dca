"""Pairs counted: over all, by class, by annotator; groups are the units."""

import json
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.pairs.masks import disc, noisy_pairs, true_mask

from metadcseg.constants import IGNORE
from metadcseg.pairs.statistics import Pair, diagnose

KEYS = {"pairs", "dsc", "offset_px", "offset_mm", "too_large", "too_small", "missing", "invented"}


def test_without_noise_everything_is_identical():
    total = diagnose(noisy_pairs("none", 12)).total
    assert (total.pairs, total.identical, total.too_large, total.too_small) == (12, 12, 0, 0)
    assert total.dsc.to_dict() == {"mean": 1.0, "low": 1.0, "high": 1.0}
    assert total.offset_px.to_dict() == {"mean": 0.0, "low": 0.0, "high": 0.0}
    assert total.offset_mm is None


@pytest.mark.parametrize(("name", "sign"), [("over", 1), ("under", -1)])
def test_masks_drawn_in_one_direction(name, sign):
    total = diagnose(noisy_pairs(name, 12, spacing=(0.5, 0.5))).total
    assert sorted([total.too_large, total.too_small]) == [0, 12]
    assert (total.too_large == 12) == (sign > 0)
    assert total.offset_px.mean * sign > 1
    assert total.offset_px.excludes(0.0)
    assert total.offset_mm.mean == pytest.approx(0.5 * total.offset_px.mean)
    assert total.dsc.high < 1


def test_the_papers_noise_has_no_direction():
    total = diagnose(noisy_pairs("paper", 12)).total
    assert min(total.too_large, total.too_small) >= 3
    assert not total.offset_px.excludes(0.0)


def test_noise_of_a_class_stays_in_that_class():
    pairs = []
    for pair in noisy_pairs("none", 6, classes=4):
        given = pair.given.copy()
        given[94:112, 20:60] = 3  # the bar is four rows too large
        pairs.append(replace(pair, given=given))
    found = diagnose(pairs, ("background", "disc", "core", "bar"))
    assert list(found.classes) == ["disc", "core", "bar"]
    assert [found.classes[name].too_large for name in found.classes] == [0, 0, 6]
    assert found.classes["disc"].identical == 6 != found.classes["bar"].identical
    assert found.classes["disc"].dsc.mean == 1.0 > found.total.dsc.mean > found.classes["bar"].dsc.mean


def test_the_frame_of_a_pair_counts_only_classes_that_it_shows():
    empty = np.zeros((20, 20), np.uint8)
    found = diagnose(
        [Pair("a", "a", empty, empty), Pair("b", "b", disc(9, 9, 4, (20, 20)), disc(9, 9, 3, (20, 20)))]
    )
    assert found.total.pairs == 2
    assert found.classes["foreground"].pairs == 1
    assert found.total.dsc.mean == found.classes["foreground"].dsc.mean < 1
    assert found.total.identical == 1


def test_objects_that_are_missing_or_invented_are_counted():
    pairs = noisy_pairs("missing", 12, strength=0.5)
    total = diagnose(pairs).total
    assert total.missing == sum(not pair.given.any() for pair in pairs) > 2
    assert total.offset_px.mean == 0.0
    turned = diagnose([replace(pair, given=pair.verified, verified=pair.given) for pair in pairs]).total
    assert (turned.invented, turned.missing) == (total.missing, 0)


def test_annotators_are_told_apart():
    pairs = noisy_pairs("annotator", 16, who=lambda one: "bad" if one["annotator"] == 0 else "good")
    found = diagnose(pairs)
    assert list(found.annotators) == ["bad", "good"]
    assert found.annotators["good"].identical == found.annotators["good"].pairs
    assert found.annotators["bad"].too_large == found.annotators["bad"].pairs >= 2
    assert sum(part.pairs for part in found.annotators.values()) == 16


def test_neither_order_nor_how_a_case_is_called_matters():
    pairs = noisy_pairs("paper", 8)
    once, again = diagnose(pairs).total.to_dict(), diagnose(pairs[::-1]).total.to_dict()
    assert once == again


def test_images_of_one_patient_are_one_unit():
    pairs = [
        replace(pair, group=f"patient{number % 4}") for number, pair in enumerate(noisy_pairs("over", 12))
    ]
    total = diagnose(pairs).total
    alone = diagnose(noisy_pairs("over", 12)).total
    assert (total.pairs, total.units, alone.units) == (12, 4, 12)
    assert total.offset_px.high - total.offset_px.low != alone.offset_px.high - alone.offset_px.low


def test_one_pair_has_no_interval_and_none_no_mean():
    one = diagnose(noisy_pairs("over", 1)).total
    assert one.dsc.mean < 1
    assert one.dsc.low is one.dsc.high is one.offset_px.low is None
    none = diagnose([]).total
    assert none.dsc.to_dict() == {"mean": None, "low": None, "high": None}


def test_lengths_in_mm_only_where_every_pair_has_a_spacing():
    pairs = noisy_pairs("over", 3, spacing=(0.5, 0.5))
    assert diagnose(pairs).total.offset_mm is not None
    assert diagnose([*pairs[:2], replace(pairs[2], spacing=None)]).total.offset_mm is None


def test_masks_of_unknown_pixels_are_identical_where_anything_is_known():
    true = disc(60, 60, 20)
    given = true.copy()
    given[:40] = IGNORE
    assert diagnose([Pair("a", "a", given, true)]).total.identical == 1


def test_the_worst_come_first_and_identical_ones_never():
    pairs = [*noisy_pairs("over", 5), replace(noisy_pairs("none", 1)[0], id="equal")]
    found = diagnose(pairs)
    worst = found.worst(3)
    assert [entry.dsc for entry in worst] == sorted(entry.dsc for entry in found.total.members)[:3]
    assert len(found.worst(99)) == 5


def test_volumes_are_compared_as_a_whole():
    true = np.stack([true_mask(1)] * 5 + [np.zeros((120, 130), np.uint8)] * 3, axis=2)
    given = np.stack([true_mask(1)] * 7 + [np.zeros((120, 130), np.uint8)], axis=2)
    total = diagnose([Pair("a", "a", given, true, (1.0, 1.0, 4.0))]).total
    assert total.too_large == 1
    assert total.offset_mm.mean > total.offset_px.mean > 0.5


def test_what_is_written_is_json_of_a_fixed_form():
    found = diagnose(noisy_pairs("over", 3)).total.to_dict()
    assert set(found) == KEYS
    assert json.loads(json.dumps(found)) == found
