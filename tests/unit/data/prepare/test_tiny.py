"""Classes that shrink to a few pixels are told, with the size that keeps them."""

import pytest

from metadcseg.data.prepare.tiny import tiny_classes


@pytest.mark.parametrize(("side", "count", "needed"), [(640, 15, 468), (1024, 32, 512), (2000, 50, 800)])
def test_a_tiny_class_is_told_with_the_size_that_keeps_it(side: int, count: int, needed: int) -> None:
    masks = [("a.png", (side**2 - count, count), side**2)]
    (found,) = tiny_classes(masks, ("background", "lesion"))
    assert f"--training.size {needed} " in found.sentence
    assert not tiny_classes(masks, ("background", "lesion"), needed)


def test_large_or_absent_classes_and_a_rare_small_one_are_not_told() -> None:
    large = [("a.png", (400000, 9600, 0), 409600)] * 19
    assert not tiny_classes([*large, ("b.png", (409585, 15, 0), 409600)], ("background", "lesion", "organ"))
