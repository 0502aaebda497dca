import pytest

from metadcseg.data.prepare.plausible import MaskCounts, plausibility

SIDE, RIM = 100, 396


def mask(name, *shares, border=(), role="train"):
    """A mask of 100 x 100 pixels of which each class but the background fills a share."""
    pixels = [round(share * SIDE * SIDE) for share in shares]
    rim = [round(share * RIM) for share in border] or [0] * len(pixels)
    return MaskCounts(name, role, (SIDE * SIDE - sum(pixels), *pixels), (RIM - sum(rim), *rim))


def codes(masks, values=(0, 255), remap=None):
    return [(found.severity, found.code) for found in plausibility(masks, values, remap or {})]


def usual(count=10, share=0.1):
    return [mask(f"u{n}.png", share * (1 + n / 20)) for n in range(count)]


def inverted(name="i.png", share=0.85):
    return mask(name, share, border=(1.0,))


def test_masks_as_they_should_be_are_not_talked_about():
    assert codes(usual()) == []
    assert (
        codes([mask(f"{n}.png", 0.6) for n in range(5)] + usual(5)) == []
    )  # large, but not around the border
    assert codes([mask("a.png", 0.3, border=(1.0,)), *usual()]) == []  # around the border, but not large


@pytest.mark.parametrize("values", [(0, 255), (0, 1), (3, 7)])
def test_all_masks_inside_out_are_refused_with_both_ways_on(values):
    found = plausibility([inverted(f"{n}.png") for n in range(6)], values, {})
    assert [(each.severity, each.code) for each in found] == [("error", "masks-inverted")]
    assert f"--remap {values[0]}:1,{values[1]}:0" in found[0].sentence
    assert f"--remap {values[0]}:0,{values[1]}:1" in found[0].sentence
    assert "85 %" in found[0].sentence


def test_what_was_said_of_zero_is_believed():
    assert ("error", "masks-inverted") not in codes(
        [inverted(f"{n}") for n in range(9)], remap={0: 0, 255: 1}
    )
    assert codes([inverted(), *usual()], remap={0: 0, 255: 1}) == []


@pytest.mark.parametrize("number", [1, 2, 4])
def test_some_masks_inside_out_are_named_one_by_one(number):
    masks = [*usual(), *(inverted(f"odd{n}.png") for n in range(number))]
    found = plausibility(masks, (0, 255), {})
    assert [each.where for each in found] == [f"odd{n}.png" for n in range(number)]
    assert all(each.severity == "error" and each.code == "mask-inverted" for each in found)


@pytest.mark.parametrize("labels", [2, 3, 5])
def test_classes_that_count_from_one_are_refused_with_a_remap(labels):
    others = [1000 + label for label in range(labels - 1)]
    pixels = (0, SIDE * SIDE - sum(others), *others)
    masks = [MaskCounts(f"{n}.png", "train", pixels, (0, RIM, *[0] * (labels - 1))) for n in range(4)]
    found = plausibility(masks, tuple(range(labels + 1)), {})
    assert [(each.severity, each.code) for each in found] == [("error", "no-background")]
    wanted = ",".join(f"{value}:{value - 1}" for value in range(1, labels + 1))
    assert f"--remap {wanted}" in found[0].sentence
    assert ("error", "no-background") not in codes(masks, tuple(range(labels + 1)), {0: 0})


@pytest.mark.parametrize("share", [0.9, 0.9999, 1.0])
def test_a_mask_that_is_nearly_or_all_foreground_is_as_bad_either_way(share):
    masks = [inverted("full.png", share), *usual()]
    (found,) = plausibility(masks, (0, 255), {})
    assert (found.severity, found.code, found.where) == ("error", "mask-inverted", "full.png")
    assert found.sentence.endswith("if it is right, pass --remap 0:0,255:1")
    assert codes(masks, remap={0: 0, 255: 1}) == ([("warning", "mask-full")] if share == 1 else [])
    assert codes([inverted(f"{n}.png", share) for n in range(3)])[0][0] == "error"


@pytest.mark.parametrize("values", [(0, 255), (0, 1), (3, 7)])
def test_masks_of_one_value_only_are_refused(values):
    (found,) = plausibility([inverted(f"{n}.png", 1.0) for n in range(3)], values, {})
    assert (found.severity, found.code) == ("error", "no-background")
    assert found.sentence.endswith(f"pass --remap {values[0]}:0,{values[1]}:1 if that is right")


@pytest.mark.parametrize("number", [1, 5, 10])
def test_an_inverted_mask_beside_a_better_one_is_named_too(number):
    """A training label beside a reference, and the mask that a verified one replaced."""
    beside = [inverted(f"given{n}.png") for n in range(number)] + usual(10 - number)
    found = plausibility(usual(), (0, 255), {}, beside=beside)
    assert {(each.severity, each.code) for each in found} == {("error", "mask-inverted")}
    assert [each.where for each in found] == [f"given{n}.png" for n in range(number)]
    assert not plausibility(usual(), (0, 255), {}, beside=[mask("speck.png", 0.0002), mask("empty.png", 0.0)])


def test_foreground_that_is_most_of_every_image_is_looked_at():
    assert codes([mask(f"{n}.png", 0.7, border=(0.4,)) for n in range(9)]) == [
        ("warning", "foreground-large")
    ]
    assert codes([mask(f"{n}.png", 0.7, border=(0.4,)) for n in range(3)]) == []  # of three nobody can say


@pytest.mark.parametrize("share", [0.0002, 0.0004])
def test_a_mask_of_another_size_than_all_others_is_named(share):
    found = plausibility([mask("speck.png", share), *usual(20)], (0, 255), {})
    assert [(each.severity, each.code) for each in found] == [("warning", "mask-odd-size")]
    assert "speck.png" in found[0].sentence


def test_sizes_that_vary_a_hundredfold_are_as_they_are():
    masks = [mask(f"{n}.png", 0.005 * 1.25**n) for n in range(20)]
    assert codes(masks) == []


def test_classes_are_counted_by_role():
    train = [mask(f"t{n}", 0.1, 0.1, 0.0) for n in range(4)]
    masks = [*train, mask("v0", 0.1, 0.1, 0.1, role="val"), mask("s0", 0.1, 0.0, 0.1, role="test")]
    found = {
        each.code: each.sentence for each in plausibility(masks, (0, 1, 2, 3), {}, ("b", "c1", "c2", "c3"))
    }
    assert "c3 is in no mask that is trained on, only in 1 test, 1 val" in found["class-untrained"]
    assert "c2 is in no mask of role test" in found["class-unjudged"]


def test_masks_of_which_nothing_is_known_do_not_count():
    assert codes([MaskCounts("a", "train", (0, 0), (0, 0))]) == []
    assert codes([]) == []


def test_what_a_sentence_says_to_type_ends_the_matter():
    """With what was typed before kept in it, also where no value is 0."""
    masks = [inverted(f"{n}.png") for n in range(6)]
    (found,) = plausibility(masks, (1, 2), {9: 255})
    assert "pass --remap 9:255,1:1,2:0; " in found.sentence
    assert found.sentence.endswith("pass --remap 9:255,1:0,2:1")
    assert codes(masks, (1, 2), {9: 255, 1: 0, 2: 1}) == codes(masks, (0, 1), {0: 0, 1: 1})
    (several,) = plausibility(masks, (0, 85), {85: 1, 170: 1})
    assert "pass --remap 85:0,170:0,0:1; " in several.sentence
