"""The masks that verified ones replaced: in gold batches, moved as their labels are, and only where asked for."""

import numpy as np
import pytest
import torch
from tests.unit.training.helpers import Fake

from metadcseg.data import PreparedSet, SetWriter
from metadcseg.data.formats.geometry import Grid
from metadcseg.data.loading.augmentation import AugmentOptions
from metadcseg.data.loading.batches import Shard, epoch_batches
from metadcseg.data.loading.dataset import SegmentationDataset
from metadcseg.data.loading.input_grid import resize_label_to_input
from metadcseg.data.slicing.cut import SliceOptions
from metadcseg.data.slicing.geometry import SliceGeometry
from metadcseg.networks import NetworkOptions
from metadcseg.tensors import IGNORE
from metadcseg.training.options import TrainingOptions
from metadcseg.training.setup import open_datasets
from metadcseg.warp import Warp

SIZE, DEPTH = 16, 5
MOVED = AugmentOptions(zoom=(1, 3))
SHAPE = (24, 30)


def blob(number, shape=SHAPE):
    """A mask of two classes and some ignored pixels, another for each number."""
    rng = np.random.default_rng(number)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    row, column = rng.uniform(8, 14, 2)
    distance = np.hypot(rows - row, columns - column)
    mask = (distance < 8).astype(np.uint8) + (distance < rng.uniform(3, 6)).astype(np.uint8)
    mask[:2, :2] = IGNORE
    return mask


def write(out, twins):
    """Three training cases, and a gold case for every entry: whether it has a twin, and whether that is its label."""
    rng = np.random.default_rng(3)
    with SetWriter(out, name="pairs", classes=("background", "a", "b"), channels=1) as writer:
        for number in range(3 + len(twins)):
            image, gold = rng.integers(0, 255, (*SHAPE, 1)).astype(np.uint8), number >= 3
            twin = twins[number - 3] if gold else None
            label = blob(number)
            writer.add(
                id=f"case {number}",
                role="gold" if gold else "train",
                group="",
                image=image,
                label=label,
                truth=label if gold else None,
                given=None if twin is None else label if twin == "same" else blob(100 + number),
                label_confidence=None if gold else np.full(SHAPE, 100, np.uint8),
            )
    return PreparedSet.open(out)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    return write(tmp_path_factory.mktemp("pairs") / "set", ["other", None, "same", "other"])


def view(prepared, role="gold", augment=MOVED, **options):
    return SegmentationDataset(prepared, role, SIZE, augment=augment, seed=5, **options)


def test_without_augmentation_it_is_the_stored_mask_in_the_grid(prepared):
    gold = view(prepared, augment=None, pairs=True)
    for row, case in enumerate(prepared.select("gold")):
        sample = gold.sample(row, epoch=0)
        assert sample.given.dtype == torch.int64
        if case.has_given:
            assert torch.equal(sample.given, resize_label_to_input(prepared.given(case), SIZE))
        else:
            assert (sample.given == IGNORE).all()
    sample.given.fill_(1)  # what a method does to its batch is not kept
    assert not (gold.sample(row, epoch=0).given == 1).all()


def test_it_is_moved_as_its_label_is(prepared):
    still, gold = view(prepared, augment=None, pairs=True), view(prepared, pairs=True)
    same = prepared.select("gold")[2]
    for epoch in range(4):
        for row in range(len(gold)):
            sample = gold.sample(row, epoch)
            warp = Warp(sample.warp[None])
            wanted = warp.apply(still.sample(row, 0).given[None, None], "nearest", fill=float(IGNORE))[0, 0]
            assert torch.equal(sample.given, wanted)
        twin = gold.sample(2, epoch)
        assert same.has_given
        assert torch.equal(twin.given, twin.label)
    beyond = [~Warp(gold.sample(0, epoch).warp[None]).inside((SIZE, SIZE))[0] for epoch in range(4)]
    assert any(outside.any() for outside in beyond)
    for epoch, outside in enumerate(beyond):
        assert (gold.sample(0, epoch).given[outside] == IGNORE).all()


def test_nothing_is_shown_unasked(prepared, monkeypatch):
    def refuse(*_):
        raise AssertionError("a view that was not asked for pairs has read one")

    monkeypatch.setattr(PreparedSet, "given", refuse)
    gold = view(prepared)
    assert all(gold.sample(row, 0).given is None for row in range(len(gold)))
    assert next(iter(epoch_batches(gold, epoch=0, batch=2))).given is None


def test_asking_changes_no_other_bit(prepared):
    for one, other in zip(
        *(epoch_batches(view(prepared, pairs=pairs), epoch=1, batch=3, steps=4) for pairs in (False, True)),
        strict=True,
    ):
        assert other.given.shape == other.labels.shape
        for name in ("images", "labels", "indices"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        assert torch.equal(one.warp.matrix, other.warp.matrix)
        assert (one.label_confidence, other.label_confidence) == (None, None)


def test_a_batch_holds_every_image_s_own(prepared):
    gold = view(prepared, pairs=True)
    batch = next(iter(epoch_batches(gold, epoch=2, batch=4)))
    for place, row in enumerate(batch.indices.tolist()):
        assert torch.equal(batch.given[place], gold.sample(row, 2).given)
    unpaired = batch.indices.tolist().index(1)
    assert (batch.given[unpaired] == IGNORE).all()
    assert not (batch.labels[unpaired] == IGNORE).all()


def test_none_where_no_gold_case_has_one(tmp_path):
    bare = write(tmp_path / "set", [None, None])
    assert next(iter(epoch_batches(view(bare, pairs=True), epoch=0, batch=2))).given is None


def test_training_labels_have_no_twin_and_keep_their_confidence(prepared):
    batch = next(iter(epoch_batches(view(prepared, "train", pairs=True), epoch=0, batch=3)))
    assert batch.given is None
    assert batch.label_confidence.min() < 0.5


def test_devices_make_the_same_as_one(prepared):
    whole = list(epoch_batches(view(prepared, pairs=True), epoch=0, batch=4, steps=3))
    parts = [
        list(epoch_batches(view(prepared, pairs=True), epoch=0, batch=4, steps=3, shard=Shard(rank, 2)))
        for rank in range(2)
    ]
    for number, batch in enumerate(whole):
        for rank in range(2):
            assert torch.equal(parts[rank][number].given, batch.given[rank::2])


def test_a_device_without_image_of_its_own_knows_no_pair(tmp_path):
    prepared = write(tmp_path / "set", ["other"] * 3)
    last = list(epoch_batches(view(prepared, pairs=True), epoch=0, batch=2, shard=Shard(1, 2)))[-1]
    assert (last.labels == IGNORE).all()
    assert (last.given == IGNORE).all()


@pytest.fixture(scope="module")
def volumes(tmp_path_factory):
    """One training volume, one gold volume whose middle slice has no twin, and one without any."""
    grid = Grid((*SHAPE, DEPTH), tuple(map(tuple, np.eye(4).tolist())))
    placement = SliceGeometry(grid, 2, ((0, SHAPE[0]), (0, SHAPE[1]), (0, DEPTH)), *SHAPE)
    folder = tmp_path_factory.mktemp("volumes") / "set"
    options = SliceOptions(empty="keep").to_dict()
    rng = np.random.default_rng(4)
    with SetWriter(
        folder, name="v", classes=("background", "a", "b"), channels=1, preprocessing=options
    ) as writer:
        for volume, role in (("x", "train"), ("y", "gold"), ("z", "gold")):
            stack = np.stack([blob(10 * ord(volume) + number) for number in range(DEPTH)])
            writer.add_volume(
                id=volume, role=role, group="", placement=placement, reference=np.moveaxis(stack, 0, 2)
            )
            for number, label in enumerate(stack):
                paired = volume == "y" and number != 2
                writer.add(
                    id=f"{volume}{number}",
                    role=role,
                    group="",
                    image=rng.normal(size=(*SHAPE, 1)).astype(np.float32),
                    label=label,
                    truth=label,
                    given=blob(number) if paired else None,
                    volume=volume,
                    slice=number,
                )
    return PreparedSet.open(folder)


def test_volumes_have_theirs_and_slices_without_are_unknown(volumes):
    still = SegmentationDataset(volumes, "gold", (DEPTH, SIZE, SIZE), pairs=True)
    given = still.sample(0, 0).given
    for number, case in enumerate(volumes.slices_of(volumes.volumes[1])):
        wanted = torch.full((SIZE, SIZE), IGNORE)
        if number != 2:
            wanted = resize_label_to_input(volumes.given(case), SIZE)
        assert torch.equal(given[number], wanted)
    assert (still.sample(1, 0).given == IGNORE).all()
    assert SegmentationDataset(volumes, "gold", (DEPTH, SIZE, SIZE)).sample(0, 0).given is None
    assert SegmentationDataset(volumes, "train", (DEPTH, SIZE, SIZE), pairs=True).sample(0, 0).given is None


@pytest.mark.parametrize("asks", [True, False])
def test_training_asks_for_them_where_the_method_does(prepared, volumes, asks):
    method = Fake(gold=True, pairs=asks)
    for made, axes in ((prepared, 2), (volumes, 3)):
        options = TrainingOptions(size=SIZE, depth=DEPTH, augment=MOVED)
        seen = open_datasets(made, method, NetworkOptions(spatial_dims=axes), options, seed=0)
        assert seen.train.sample(0, 0).given is None
        assert (seen.gold.sample(0, 0).given is not None) == asks


def test_patches_of_volumes_are_moved_as_their_labels_are(volumes):
    frame, patch = (DEPTH, SIZE, SIZE), (3, 8, 8)
    options = {"augment": MOVED, "seed": 2}
    gold = SegmentationDataset(volumes, "gold", frame, patch, pairs=True, **options)
    bare = SegmentationDataset(volumes, "gold", frame, patch, **options)
    whole = SegmentationDataset(volumes, "gold", frame, pairs=True).sample(0, 0).given
    for epoch in range(4):
        sample, plain = gold.sample(0, epoch), bare.sample(0, epoch)
        warp = Warp(sample.warp[None])
        wanted = warp.apply(whole[None, None].float(), "nearest", float(IGNORE), patch)[0, 0].long()
        assert torch.equal(sample.given, wanted)
        assert torch.equal(sample.label, plain.label)
        assert torch.equal(sample.image, plain.image)
    batch = next(iter(epoch_batches(gold, epoch=0, batch=2)))
    assert batch.given.shape == (2, *patch)
