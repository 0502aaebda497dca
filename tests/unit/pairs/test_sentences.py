"""Sentences are short and true; every rule of the advice has pairs that it is about."""

import re
from dataclasses import replace

import numpy as np
import pytest
from tests.unit.pairs.masks import disc, noisy_pairs

from metadcseg.pairs.advice import advise
from metadcseg.pairs.sentences import sentences
from metadcseg.pairs.statistics import Pair, diagnose

THREE = ("background", "disc", "core", "bar")


def who(one):
    return "B" if one["annotator"] == 0 else "A"


def annotated():
    """Two annotators of eight images each, of whom B draws too large."""
    pairs = noisy_pairs("over", 16)
    return [
        replace(pair, annotator="AB"[n % 2], given=pair.given if n % 2 else pair.verified)
        for n, pair in enumerate(pairs)
    ]


def mixed():
    """The disc too large, the bar too small: no direction over all classes together."""
    pairs = []
    for pair in noisy_pairs("none", 12, classes=4):
        given = np.where(disc(52, 60, 30) > 0, 1, 0).astype(np.uint8)
        given[pair.verified == 1], given[pair.verified == 2] = 1, 2
        given[102:108, 24:56] = 3
        pairs.append(replace(pair, given=given))
    return pairs


CASES = {
    "no pairs": ([], 0, "no-pairs", "Verify 10 masks"),
    "gold without twins": ([], 7, "no-pairs", "keep the careless one"),
    "three": (
        noisy_pairs("over", 3),
        3,
        "few",
        r"too few to say \(so far 3 too large, 0 too small\), verify 7",
    ),
    "three without noise": (noisy_pairs("none", 3), 3, "few", "no error found so far.* verify 7 more"),
    "five": (noisy_pairs("over", 5), 5, "few", "5 pairs: too few to say"),
    "seven": (noisy_pairs("over", 7), 7, "direction", "too large"),
    "seven of the paper": (noisy_pairs("paper", 7), 7, "few", "verify 3 more"),
    "over": (noisy_pairs("over", 12), 12, "direction", r"too large, \d\.\d px outside.*worth it"),
    "under": (noisy_pairs("under", 12), 12, "direction", r"too small, \d\.\d px inside.*worth it"),
    "paper": (noisy_pairs("paper", 12), 12, "both", "Wrong in both directions"),
    "moved": (noisy_pairs("shift", 12, strength=5.0), 12, "both", "Wrong in both directions"),
    "none": (
        noisy_pairs("none", 12),
        12,
        "right",
        "No error found in 12.*at most 22 %.*plain training is as good",
    ),
    "polygon": (noisy_pairs("polygon", 12), 12, "right", "beyond half a pixel"),
    "missing": (noisy_pairs("missing", 12, strength=0.5), 12, "objects", "have all masks looked through"),
    "annotators": (annotated(), 16, "annotator", "annotator B draws too large, A does not"),
    "one bad annotator whose name nobody knows": (
        noisy_pairs("annotator", 20),
        20,
        "direction",
        "too large",
    ),
    "three classes": (noisy_pairs("over", 12, classes=4), 12, "direction", "too large"),
    "two classes in two directions": (mixed(), 12, "direction", "disc too large, bar too small"),
}


@pytest.mark.parametrize("name", CASES)
def test_what_to_do(name):
    pairs, verified, kind, says = CASES[name]
    found = advise(diagnose(pairs, THREE if "classes" in name else THREE[:2], verified))
    assert found.kind == kind
    assert re.search(says, found.sentence)


@pytest.mark.parametrize("name", CASES)
def test_sentences_are_short_and_whole(name):
    pairs, verified, _, _ = CASES[name]
    found = diagnose(pairs, THREE if "classes" in name else THREE[:2], verified)
    for sentence in [*sentences(found), *re.split(r"(?<=\.) ", advise(found).sentence)]:
        assert len(sentence.split()) <= 38
        assert sentence.endswith((".", "?"))
        assert not re.search(r"\bNone\b(?! of)|nan|inf\b|\bTrue|-0\.0", sentence)


def test_numbers_come_with_their_intervals():
    pairs = noisy_pairs("over", 12, spacing=(0.5, 0.5))
    total = diagnose(pairs).total
    first, second, third = sentences(diagnose(pairs))
    dsc = total.dsc
    assert first == (
        f"12 verified masks: the masks they replaced reach DSC {dsc.mean:.2f} [{dsc.low:.2f}, {dsc.high:.2f}]."
    )
    px, mm = total.offset_px, total.offset_mm
    assert (
        f"12 of 12 are too large, 0 too small; the given outline lies {px.mean:.1f} px [{px.low:.1f}"
        in second
    )
    assert f"({mm.mean:.1f} mm [{mm.low:.1f}, {mm.high:.1f}]) outside" in second
    assert third == "No object is missing, none is invented."


def test_what_lies_inside_is_said_in_positive_numbers():
    pairs = noisy_pairs("under", 12)
    px = diagnose(pairs).total.offset_px
    assert f"lies {-px.mean:.1f} px [{-px.high:.1f}, {-px.low:.1f}] inside" in sentences(diagnose(pairs))[1]


def test_who_draws_larger():
    lines = sentences(diagnose(annotated()))
    assert "Annotator B draws larger than A." in lines
    assert sum(line.startswith("annotator ") for line in lines) == 2
    alike = [replace(pair, annotator="AB"[n % 2]) for n, pair in enumerate(noisy_pairs("over", 16))]
    assert not [line for line in sentences(diagnose(alike)) if "draws larger" in line]


def test_classes_have_their_lines_where_there_are_several():
    pairs = noisy_pairs("over", 6, classes=4)
    lines = sentences(diagnose(pairs, THREE))
    assert [line.partition(" (6 pairs)")[0] for line in lines if "(6 pairs)" in line] == [
        "disc",
        "core",
        "bar",
    ]
    assert not [line for line in sentences(diagnose(noisy_pairs("over", 6))) if "pairs)" in line]


@pytest.mark.parametrize(
    ("verified", "says"), [(0, "No mask is verified"), (9, "None of 9 verified masks has")]
)
def test_without_pairs_it_is_said_why(verified, says):
    (line,) = sentences(diagnose([], verified=verified))
    assert line.startswith(says)


def test_verified_masks_without_the_one_replaced_are_counted():
    lines = sentences(diagnose(noisy_pairs("over", 3), verified=5))
    assert "2 more verified masks are without the mask replaced and say nothing here." in lines


def test_pairs_that_are_identical_are_doubted():
    assert "All 3 are identical to the mask replaced: was anything verified?" in sentences(
        diagnose(noisy_pairs("none", 3))
    )
    some = [*noisy_pairs("none", 2), *noisy_pairs("over", 4)[2:]]
    assert "2 of 4 are identical to the mask they replaced." in sentences(diagnose(some))


def test_a_verified_mask_that_is_empty_is_named():
    pairs = noisy_pairs("over", 4)
    pairs[1] = replace(pairs[1], verified=np.zeros_like(pairs[1].verified))
    lines = sentences(diagnose(pairs))
    assert any("The verified mask of case01 is empty, the mask replaced is not" in line for line in lines)


def test_one_pair_has_no_interval():
    assert "(no interval from one)" in sentences(diagnose(noisy_pairs("over", 1)))[0]


def test_groups_are_the_units_of_the_advice():
    pairs = [replace(pair, group="p") for pair in noisy_pairs("over", 12)]
    found = diagnose(pairs)
    assert sentences(found)[0].startswith("12 verified masks of one group:")
    assert advise(found).sentence.startswith("12 pairs of 1 group: too few to say")
    assert "verify masks of 9 more groups" in advise(found).sentence
    nine = [replace(pair, group=str(number % 9)) for number, pair in enumerate(noisy_pairs("paper", 18))]
    assert advise(diagnose(nine)).sentence.endswith("verify masks of 1 more group.")


@pytest.mark.parametrize(("groups", "kind"), [(1, "few"), (2, "few"), (3, "direction"), (6, "direction")])
def test_a_direction_of_many_images_needs_three_patients(groups, kind):
    pairs = [replace(pair, group=str(n % groups)) for n, pair in enumerate(noisy_pairs("over", 12))]
    assert advise(diagnose(pairs)).kind == kind


def test_objects_are_told_beside_a_direction():
    pairs = noisy_pairs("over", 12)
    for place in (3, 5):
        pairs[place] = replace(pairs[place], given=np.zeros_like(pairs[place].given))
    found = advise(diagnose(pairs))
    assert found.kind == "direction"
    assert "missing or invented in 2 of 12 masks" in found.sentence


def test_a_single_pair_of_nothing():
    empty = np.zeros((9, 9), np.uint8)
    lines = sentences(diagnose([Pair("a", "a", empty, empty)]))
    assert lines[0] == "1 verified mask: neither it nor the mask it replaced shows anything."


@pytest.mark.parametrize("spacing", [None, (0.5, 0.5)])
def test_outlines_off_to_both_sides_alike_lie_neither_inside_nor_outside(spacing):
    """Straight outlines, half of them two pixels too far out, half as much too far in: 0.0 px has no side."""
    rows = np.arange(60)[:, None] * np.ones(40, int)
    pairs = [
        Pair(
            f"c{n}",
            f"c{n}",
            (rows < 30 + (n % 2) * 4 - 2).astype(np.uint8),
            (rows < 30).astype(np.uint8),
            spacing,
        )
        for n in range(6)
    ]
    (line,) = [line for line in sentences(diagnose(pairs)) if "too large" in line]
    assert (
        "3 of 6 are too large, 3 too small; on average the given outline lies on the verified one: 0.0 px [-"
        in line
    )
    assert "inside" not in line
    assert "outside" not in line


@pytest.mark.parametrize("how", ["exchanged", "mirrored", "moved"])
def test_masks_that_hardly_overlap_are_asked_whether_they_belong_together(how):
    places = [(20 + 8 * number, 20 + 9 * number) for number in range(10)]
    true = [disc(*place, 7) for place in places]
    given = {
        "exchanged": true[5:] + true[:5],
        "mirrored": [mask[::-1] for mask in true[:3]] + [mask[:, ::-1] for mask in true[3:]],
        "moved": [np.roll(mask, 30, axis=1) for mask in true],
    }[how]
    pairs = [Pair(f"c{n}", f"c{n}", *both) for n, both in enumerate(zip(given, true, strict=True))]
    found = advise(diagnose(pairs))
    assert found.kind == "unlike"
    assert "hardly overlap (median DSC 0.0" in found.sentence


def test_masks_that_miss_their_object_are_not_taken_for_those_of_another_image():
    true = [disc(40, 40, 9) for _ in range(10)]
    pairs = [Pair(f"c{n}", f"c{n}", np.zeros_like(mask), mask) for n, mask in enumerate(true)]
    assert advise(diagnose(pairs)).kind == "objects"


@pytest.mark.parametrize(("radius", "kind"), [(15, "right"), (23, "hidden")])
def test_an_outline_that_is_unknown_all_around_is_not_called_right(radius, kind):
    """The given outline lies somewhere from 10 to 20 px, as of masks with a border of 255; nobody can compare it."""
    given = disc(60, 60, 10)
    given[(disc(60, 60, 20) > 0) & (given == 0)] = 255
    found = diagnose([Pair(f"c{n}", f"c{n}", given, disc(60, 60, radius)) for n in range(10)])
    assert sentences(found)[1].startswith("Unknown pixels or the frame lie along all outlines")
    assert advise(found).kind == kind  # where all known pixels agree no error is found
