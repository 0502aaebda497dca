"""What a set holds but for its edges: equal wherever it was prepared."""

import numpy as np
import pytest

from metadcseg.data.formats.geometry import UNKNOWN_AFFINE, Grid
from metadcseg.data.slicing.cut import SliceOptions, place
from metadcseg.data.store.content import clean_content_of, content_of
from metadcseg.data.store.reader import PreparedSet
from metadcseg.data.store.writer import SetWriter
from metadcseg.data.synthetic.corruption import corrupt_set

DETECTOR = {"detector": "d", "sha256": "0" * 64}


def prepared(
    folder, *, role="train", spacing=(1.0, 1.0), detector=DETECTOR, edge=0, value=0, drawn=0, name="s"
):
    rows, columns = np.mgrid[:64, :64]
    disk = ((rows - 32) ** 2 + (columns - 32) ** 2 < 400).astype(np.uint8)
    disk[0, 0] = drawn
    edges = np.full(disk.shape, edge, np.uint8)
    classes = ("background", "disk")
    with SetWriter(folder, name=name, classes=classes, channels=1, edge_detector=detector) as writer:
        for id, of in (("a", role), ("b", "val"), ("c", "gold")):
            image = np.full((64, 64, 1), value, np.uint8)
            writer.add(
                id=id,
                role=of,
                group=id,
                image=image,
                label=disk,
                spacing=spacing,
                edges=edges if detector else None,
                given=np.flip(disk) if of == "gold" else None,
            )
    return PreparedSet.open(folder)


def test_edges_that_round_otherwise_change_the_fingerprint_alone(tmp_path):
    one, other = prepared(tmp_path / "one", edge=7), prepared(tmp_path / "other", edge=8, name="t")
    assert one.fingerprint != other.fingerprint
    assert content_of(one) == content_of(other)
    assert clean_content_of(one) == clean_content_of(other)


@pytest.mark.parametrize(
    "changed",
    [
        {"role": "test"},
        {"spacing": (1.0, 2.0)},
        {"detector": None},
        {"detector": DETECTOR | {"sha256": "1" * 64}},
        {"value": 1},
        {"drawn": 1},
    ],
)
def test_all_else_that_is_read_changes_the_content(tmp_path, changed):
    one, other = prepared(tmp_path / "one"), prepared(tmp_path / "other", **changed)
    assert content_of(one) != content_of(other)
    assert clean_content_of(one) != clean_content_of(other)


def test_a_set_and_what_corrupt_made_of_it_share_their_clean_content(tmp_path):
    clean = prepared(tmp_path / "clean")
    for seed in (0, 1):
        corrupt_set(clean, tmp_path / str(seed), model="over", rate=0.3, seed=seed)
    noisy = [PreparedSet.open(tmp_path / str(seed)) for seed in (0, 1)]
    assert {clean_content_of(each) for each in (clean, *noisy)} == {clean_content_of(clean)}
    assert len({content_of(each) for each in (clean, *noisy)}) == 3


def test_a_set_of_volumes_that_nobody_verified_shares_it_too(tmp_path):
    grid, options = Grid((16, 16, 1), UNKNOWN_AFFINE), SliceOptions(axis="z", normalize="none")
    mask = np.pad(np.ones((8, 8), np.uint8), 4)
    with SetWriter(
        tmp_path / "clean",
        name="v",
        classes=("background", "organ"),
        channels=1,
        preprocessing=options.to_dict(),
    ) as writer:
        about = {"role": "train", "group": "p"}
        writer.add_volume(id="v", placement=place(grid, options), reference=mask[..., None], **about)
        writer.add(id="v#0", image=mask[..., None], label=mask, volume="v", slice=0, **about)
    clean = PreparedSet.open(tmp_path / "clean")
    corrupt_set(clean, tmp_path / "noisy", model="over", rate=0.22, seed=0)
    assert clean_content_of(clean) == clean_content_of(PreparedSet.open(tmp_path / "noisy"))


def test_roles_of_a_fold_count(tmp_path):
    one = prepared(tmp_path / "one")
    assert content_of(one.with_roles({"a": "val"})) != content_of(one) == content_of(one.with_roles({}))
