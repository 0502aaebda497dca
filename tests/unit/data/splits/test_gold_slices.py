"""Gold counted in slices: how many, of which volumes, and a set that holds no other slice of these."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nibabel import Nifti1Image, save

from metadcseg.cli.commands.console import parse_gold
from metadcseg.data.loading.dataset import SegmentationDataset
from metadcseg.data.prepare.checks import check_set
from metadcseg.data.prepare.pipeline import prepare_scan
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.data.sources.case import RawCase, Scan
from metadcseg.data.splits.folds import fold_roles, gold_roles, hold_out_roles, units_of
from metadcseg.data.splits.gold_slices import GoldSlices, kept_slices
from metadcseg.data.splits.resplit import resplit_set
from metadcseg.data.splits.roles import draw_gold
from metadcseg.data.store.reader import PreparedSet, SetWriter
from metadcseg.data.synthetic.corruption import corrupt_set
from metadcseg.errors import InputError

SIZES = st.dictionaries(st.text("abcdef", min_size=1), st.integers(1, 40), min_size=2, max_size=9)
ROLES = ("train", "train", "train", "gold", "val", "test")
DEPTH = 10
SHOWN = range(3, 7)
"""Slices of a volume, and those of them that show foreground."""


@given(SIZES, st.floats(0.001, 0.999), st.integers(0, 3))
def test_the_share_is_met_by_the_first_volumes_of_the_draw(sizes: dict[str, int], share: float, seed: int):
    wanted = max(1, round(share * sum(sizes.values())))
    try:
        drawn = GoldSlices(share).draw(sizes, seed=seed)
    except InputError:
        last = (set(sizes) - draw_gold(sizes, len(sizes) - 1, seed=seed)).pop()
        assert wanted > sum(sizes.values()) - sizes[last]  # without the last volume there are too few
        return
    assert sum(drawn.values()) == wanted
    assert set(drawn) == draw_gold(sizes, len(drawn), seed=seed)
    assert all(count == sizes[name] for name, count in list(drawn.items())[:-1])
    assert 1 <= drawn[list(drawn)[-1]] <= sizes[list(drawn)[-1]]
    assert drawn == GoldSlices(share).draw(dict(reversed(sizes.items())), seed=seed)
    fewer = GoldSlices(share / 2).draw(sizes, seed=seed)
    assert list(fewer) == list(drawn)[: len(fewer)]


def test_another_seed_draws_other_volumes_and_all_is_too_much():
    sizes = {str(number): 10 for number in range(20)}
    assert GoldSlices(0.1).draw(sizes, seed=0) != GoldSlices(0.1).draw(sizes, seed=1)
    with pytest.raises(InputError, match=r"slices:0.99 takes slices of every training volume \(2\)"):
        GoldSlices(0.99).draw({"a": 50, "b": 50})
    with pytest.raises(InputError, match="one volume is left to train on"):
        GoldSlices(0.02).draw({"a": 100})


@pytest.mark.parametrize("share", [-3.0, 0.0, 1.0, float("nan")])
def test_a_share_has_a_range(share: float):
    with pytest.raises(InputError, match="a share above 0 and below 1"):
        GoldSlices(share)


@pytest.mark.parametrize(
    "text", ["slices:", "slices:0", "slices:1", "slices:-0.1", "slices:nan", "slices:6x"]
)
def test_what_is_no_share_of_slices(text: str):
    assert GoldSlices.read(text) is None
    with pytest.raises(InputError, match=f"--gold must be .* slices:0.02, .* got '{text}'"):
        parse_gold(text)


def test_what_is_read_is_what_is_written():
    for share in (0.02, 0.123456789, 1e-05):
        assert parse_gold(str(GoldSlices(share))) == GoldSlices(share)


def made(folder: Path, empty: str = "keep") -> PreparedSet:
    """Six volumes of ten slices, of which four show foreground."""
    volumes = []
    for number, role in enumerate(ROLES):
        image = np.random.default_rng(number).normal(size=(16, 16, DEPTH)).astype(np.float32)
        label = np.zeros(image.shape, np.uint8)
        label[4 : 9 + number % 3, 4:10, SHOWN.start : SHOWN.stop] = 1
        files = [folder / f"{kind}{number}.nii.gz" for kind in ("image", "label")]
        for file, array in zip(files, (image, label), strict=True):
            save(Nifti1Image(array, np.eye(4)), file)
        volumes.append(RawCase(f"v{number}", role, f"v{number}", (files[0],), files[1], verified=True))
    scan = Scan(tuple(volumes), source={"source": "test"}, slices=SliceOptions(empty=empty))
    prepare_scan(scan, folder / "set", name="test", edges="none")
    return PreparedSet.open(folder / "set")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> PreparedSet:
    return made(tmp_path_factory.mktemp("volumes"))


def anew(source: PreparedSet, out: Path, share: float, seed: int = 0) -> PreparedSet:
    """The set with its gold drawn anew."""
    gold = GoldSlices(share)
    roles = gold_roles(source, units_of(source), seed=seed, gold=gold)
    kept = kept_slices(source, roles, gold, seed=seed)
    return resplit_set(source, out, roles, note={"gold": str(gold)}, kept=kept)


@pytest.mark.parametrize(
    ("share", "numbers"),
    [(0.01, [5]), (0.05, [4, 6]), (0.1, [3, 4, 5, 6]), (0.15, [1, 3, 4, 5, 6, 8]), (0.25, list(range(10)))],
)
def test_the_slices_kept_are_spread_and_show_foreground_first(source, tmp_path, share, numbers):
    gold = anew(source, tmp_path / "set", share).select("gold")
    assert [case.slice for case in gold] == numbers


def test_only_the_kept_slices_of_gold_volumes_are_in_the_set(source, tmp_path):
    result = anew(source, tmp_path / "set", 0.3, seed=2)
    volumes = {volume.id: volume.role for volume in result.volumes}
    first, last = GoldSlices(0.3).draw({f"v{number}": DEPTH for number in range(4)}, seed=2)
    assert {name for name, role in volumes.items() if role == "gold"} == {first, last}
    held = [(case.volume, case.slice) for case in result.select("gold")]
    kept = {(first, number) for number in range(DEPTH)} | {(last, 4), (last, 6)}
    assert len(held) == 12
    assert set(held) == kept
    for volume in result.volumes:
        if volume.role != "gold":
            assert len(result.slices_of(volume)) == DEPTH
    before = {case.id: case for case in source.cases}
    assert len(result.cases) == len(before) - 8
    for case in result.cases:
        assert np.array_equal(result.image(case), source.image(before[case.id]))
        assert case == replace(before[case.id], row=case.row, role=volumes[case.volume])
    assert result.verify() == []
    assert not [finding for finding in check_set(result.path).findings if finding.severity == "error"]
    again = anew(source, tmp_path / "again", 0.3, seed=2)
    assert again.fingerprint == result.fingerprint


def test_such_a_set_is_corrupted_and_trained_on_but_not_as_whole_volumes(source, tmp_path):
    clean = anew(source, tmp_path / "clean", 0.1)
    corrupt_set(clean, tmp_path / "noisy", 0.2, 0)
    noisy = PreparedSet.open(tmp_path / "noisy")
    assert [case.id for case in noisy.cases] == [case.id for case in clean.cases]
    assert len(SegmentationDataset(noisy, "gold", 32)) == 4
    assert len(SegmentationDataset(noisy, "train", (16, 16, 16))) == 3
    with pytest.raises(InputError, match=r"lacks slices of volume 'v[0-3]'.* count gold in volumes"):
        SegmentationDataset(noisy, "gold", (16, 16, 16))


def test_a_set_of_gold_slices_is_not_split_again(source, tmp_path):
    """Its gold volumes are remnants, which would be trained on as if they were whole."""
    clean = anew(source, tmp_path / "clean", 0.1)
    with pytest.raises(
        InputError, match="only the gold slices of its gold volumes: split the set that it was split"
    ):
        anew(clean, tmp_path / "again", 0.1, seed=4)
    with pytest.raises(InputError, match="only the gold slices"):
        resplit_set(clean, tmp_path / "again", gold_roles(clean, units_of(clean), gold=1), note={})
    assert not (tmp_path / "again").exists()


def test_slices_that_a_set_lacks_do_not_count(tmp_path):
    dropped = made(tmp_path, empty="drop")  # 16 slices of training and gold are left
    assert len(anew(dropped, tmp_path / "new", 0.3).select("gold")) == 5


def test_slices_are_drawn_in_a_hold_out_and_in_every_fold(source):
    units, gold = units_of(source), GoldSlices(0.05)
    dealt = fold_roles(units, 3, seed=1, val=0.2, gold=gold)
    for roles in (*dealt, hold_out_roles(units, seed=1, val=0.2, test=0.2, gold=gold)):
        (volume,) = [name for name, role in roles.items() if role == "gold"]
        training = 10 * sum(role in ("train", "gold") for role in roles.values())
        kept = kept_slices(source, roles, gold, seed=1)
        assert {name: len(numbers) for name, numbers in kept.items()} == {volume: round(0.05 * training)}


def test_slices_of_other_volumes_stay(source, tmp_path):
    roles = {volume.id: volume.role for volume in source.volumes}
    with pytest.raises(InputError, match="slices of 'v0' would be left out, which is not a gold volume"):
        resplit_set(source, tmp_path / "set", roles, note={}, kept={"v0": [3]})
    assert not (tmp_path / "set").exists()


def test_images_have_no_slices(tmp_path):
    with SetWriter(tmp_path, name="plain", classes=("background", "square"), channels=1) as writer:
        for number in range(6):
            image = np.random.default_rng(number).integers(0, 255, (12, 10, 1)).astype(np.uint8)
            label = np.ones((12, 10), np.uint8)
            writer.add(id=f"c{number}", role="train", group=f"c{number}", image=image, label=label)
    plain = PreparedSet.open(tmp_path)
    says = "gold slices:0.02 is a share of the slices.*give a share of the images, such as 0.02"
    for draw in (
        lambda: gold_roles(plain, units_of(plain), gold=GoldSlices(0.02)),
        lambda: hold_out_roles(units_of(plain), gold=GoldSlices(0.02)),
        lambda: fold_roles(units_of(plain), 3, gold=GoldSlices(0.02)),
    ):
        with pytest.raises(InputError, match=says):
            draw()
