"""Batches: every bit follows from seed, epoch and id, and no view shows a reference mask unasked."""

import gc
import multiprocessing
import shutil
from collections import deque

import numpy as np
import pytest
import torch

from metadcseg.data import PreparedSet, SetWriter
from metadcseg.data.loading.augmentation import AugmentOptions
from metadcseg.data.loading.batches import BatchLoader, Shard, epoch_batches, loaders_lost
from metadcseg.data.loading.dataset import SegmentationDataset, generator_for
from metadcseg.data.loading.input_grid import (
    normalize,
    resize_edges_to_input,
    resize_label_to_input,
    resize_to_input,
)
from metadcseg.data.store.layout import chunk_file
from metadcseg.errors import InputError
from metadcseg.tensors import IGNORE, Batch

SIZE = 16
_MOVED = AugmentOptions(zoom=(1, 3))


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Seven training and three gold cases of mixed sizes; given label and truth are never equal."""
    folder = tmp_path_factory.mktemp("loading") / "set"
    rng = np.random.default_rng(0)
    with SetWriter(folder, name="tiny", classes=("background", "organ"), channels=2) as writer:
        for number in range(10):
            height, width = 18 + number, 30 - number
            image = rng.integers(0, 255, (height, width, 2)).astype(np.uint8)
            label = np.zeros((height, width), np.uint8)
            label[:, : width // 2] = 1
            role = "train" if number < 7 else "gold"
            writer.add(id=f"case/{number}", role=role, group="", image=image, label=label, truth=1 - label)
    return PreparedSet.open(folder)


@pytest.fixture(scope="module")
def with_edges(tmp_path_factory):
    """Two training cases, 40x24, whose edges are where the label changes; the second has none at all."""
    folder = tmp_path_factory.mktemp("edges") / "set"
    rng = np.random.default_rng(2)
    facts = {"detector": "by hand", "sha256": ""}
    with SetWriter(
        folder, name="edges", classes=("background", "organ"), channels=1, edge_detector=facts
    ) as writer:
        for number in range(2):
            image = rng.integers(0, 255, (40, 24, 1)).astype(np.uint8)
            label, edges = np.zeros((40, 24), np.uint8), np.zeros((40, 24), np.uint8)
            label[:, 15:] = 1
            edges[5:, 14:16] = 0 if number else 51
            writer.add(id=str(number), role="train", group="", image=image, label=label, edges=edges)
    return PreparedSet.open(folder)


def _same(one: Batch, other: Batch) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in ("images", "labels", "indices")]
    return all(torch.equal(a, b) for a, b in [*pairs, (one.warp.matrix, other.warp.matrix)])


def _view(prepared, role="train", augment=_MOVED, seed=5, **options):
    return SegmentationDataset(prepared, role, SIZE, augment=augment, seed=seed, **options)


def test_normalize_gives_zero_mean_and_unit_variance_per_channel():
    rng = np.random.default_rng(1)
    image = (rng.random((20, 30, 3)) * (1, 50, 2000) + (0, 7, 60_000)).astype(np.float32)
    for given in (image, image.astype(np.uint16)[:, :, 1:]):
        values = normalize(given).astype(np.float64)
        assert normalize(given).dtype == np.float32
        assert np.abs(values.mean(axis=(0, 1))).max() < 1e-5
        assert np.abs(values.std(axis=(0, 1)) - 1).max() < 1e-5


@pytest.mark.parametrize("value", [0, 0.1, 200])
def test_a_constant_channel_becomes_zero(value):
    image = np.full((7, 9, 2), value, np.float32)
    image[3, 3, 1] = 7
    values = normalize(image)
    assert (values[:, :, 0] == 0).all()
    assert np.isfinite(values).all()
    assert values[:, :, 1].std() > 0.5


def test_normalize_leaves_its_input_alone():
    image = np.arange(24, dtype=np.float32).reshape(3, 4, 2)
    normalize(image)
    assert image.flatten().tolist() == list(range(24))


def test_to_frame_averages_when_it_shrinks():
    checkers = (np.indices((64, 64)).sum(axis=0) % 2).astype(np.uint8)[..., None]
    grid = resize_to_input(checkers, 16)
    assert grid.shape == (1, 16, 16)
    assert grid.dtype == torch.float32
    assert grid.abs().max() < 0.1  # without antialiasing single pixels of -1 or 1 would remain


def test_to_frame_stretches_an_image_that_is_not_square():
    image = np.zeros((8, 32, 1), np.uint8)
    image[:, 16:] = 100
    grid = resize_to_input(image, 16)[0]
    assert (grid[:, :7] < -0.9).all()
    assert (grid[:, 9:] > 0.9).all()


def test_label_to_frame_is_nearest_and_lies_where_the_image_lies():
    label = np.zeros((6, 9), np.uint8)
    label[1:4, 2:7] = 1
    label[5, 8] = IGNORE
    assert resize_label_to_input(label, 6).dtype == torch.int64
    assert set(resize_label_to_input(label, 24).unique().tolist()) == {0, 1, IGNORE}
    large = resize_label_to_input(label, 36).numpy()
    assert np.array_equal(large, np.kron(label, np.ones((6, 4), np.int64)))
    label.flags.writeable = False
    assert np.array_equal(resize_label_to_input(np.ascontiguousarray(label[:, :6]), 6), label[:, :6])


def test_generators_depend_on_the_whole_key_and_nothing_else():
    keys = [(1, "a"), (1, "b"), (2, "a"), ("1", "a"), ("1a",), (1, "a", 0)]
    torch.manual_seed(0)
    first = [torch.rand(1, generator=generator_for(*key)).item() for key in keys]
    torch.manual_seed(1)
    assert first == [torch.rand(1, generator=generator_for(*key)).item() for key in keys]
    assert len(set(first)) == len(keys)
    # known for ever: another number here would break the resume of every older run
    assert generator_for("order", 0, "train", 0, 0).initial_seed() == 6130170522459819446


def test_a_sample_has_the_promised_shapes_and_both_classes(prepared):
    sample = _view(prepared).sample(2, 0)
    assert sample.image.shape == (2, SIZE, SIZE)
    assert sample.image.dtype == torch.float32
    assert sample.label.shape == (SIZE, SIZE)
    assert sample.label.dtype == torch.int64
    assert {0, 1} <= set(sample.label.unique().tolist()) <= {0, 1, IGNORE}
    assert sample.index == 2
    assert sample.warp.shape == (2, 3)


def test_a_sample_depends_on_seed_epoch_repeat_and_id_only(prepared):
    reference = _view(prepared).sample(1, 3, 2)
    other = _view(prepared)
    other.sample(0, 0)
    again = other.sample(1, 3, 2)
    assert torch.equal(reference.image, again.image)
    assert torch.equal(reference.label, again.label)
    changed = [
        _view(prepared, seed=6).sample(1, 3, 2),
        _view(prepared).sample(1, 4, 2),
        _view(prepared).sample(1, 3, 1),
        _view(prepared).sample(2, 3, 2),
        _view(prepared, role="gold").sample(1, 3, 2),
    ]
    assert all(not torch.equal(reference.warp, sample.warp) for sample in changed)


def test_without_augmentation_a_sample_is_the_frame_itself(prepared):
    view = _view(prepared, augment=None)
    case = prepared.select("train")[3]
    sample = view.sample(3, 0)
    assert torch.equal(sample.image, resize_to_input(prepared.image(case), SIZE))
    assert torch.equal(sample.label, resize_label_to_input(prepared.label(case), SIZE))
    assert torch.equal(sample.warp, torch.eye(2, 3))
    sample.image.zero_()
    assert view.sample(3, 0).image.abs().max() > 0  # a user's own change does not reach the next epoch


def test_frames_kept_in_memory_change_nothing(prepared, monkeypatch):
    kept, none = _view(prepared), _view(prepared)
    first = [batch for epoch in range(2) for batch in epoch_batches(kept, epoch=epoch, batch=3)]
    monkeypatch.setattr("metadcseg.data.loading.input_grid.INPUT_CACHE_BYTES", 0)
    second = [batch for epoch in range(2) for batch in epoch_batches(none, epoch=epoch, batch=3)]
    assert all(_same(one, other) for one, other in zip(first, second, strict=True))
    assert len(kept._memory) == 7
    assert not none._memory


def test_one_pass_shows_every_case_once_and_keeps_the_rest(prepared):
    batches = list(epoch_batches(_view(prepared), epoch=0, batch=3))
    assert [len(batch.images) for batch in batches] == [3, 3, 1]
    rows = torch.cat([batch.indices for batch in batches]).tolist()
    assert sorted(rows) == list(range(7))
    assert all(batch.edges is None for batch in batches)  # this set has none
    other = torch.cat([batch.indices for batch in epoch_batches(_view(prepared), epoch=1, batch=3)]).tolist()
    assert other != rows


@pytest.mark.parametrize("steps", [None, 6])
@pytest.mark.parametrize("start", [0, 1, 2, 5])
def test_start_skips_batches_and_changes_no_bit_of_the_others(prepared, start, steps):
    whole = list(epoch_batches(_view(prepared), epoch=2, batch=2, steps=steps))
    rest = list(epoch_batches(_view(prepared), epoch=2, batch=2, start=start, steps=steps))
    assert len(rest) == max(0, len(whole) - start)
    assert all(_same(one, other) for one, other in zip(whole[start:], rest, strict=True))


def test_steps_go_round_reshuffled_with_new_augmentation(prepared):
    view = _view(prepared, role="gold")
    batches = list(epoch_batches(view, epoch=0, batch=2, steps=9))
    assert [len(batch.images) for batch in batches] == [2] * 9
    rows = torch.cat([batch.indices for batch in batches]).reshape(6, 3)
    assert rows.sort(dim=1).values.tolist() == [[0, 1, 2]] * 6
    assert len({tuple(row) for row in rows.tolist()}) > 1
    assert [view.order(0, repeat) for repeat in range(6)] == rows.tolist()
    warps = torch.cat([batch.warp.matrix for batch in batches])
    assert len(warps.unique(dim=0)) == 18
    assert list(epoch_batches(view, epoch=0, batch=2, steps=0)) == []


def test_a_batch_may_be_larger_than_the_role(prepared):
    (batch,) = epoch_batches(_view(prepared, role="gold"), epoch=0, batch=8, steps=1)
    assert len(batch.images) == 8
    (rest,) = epoch_batches(_view(prepared, role="gold"), epoch=0, batch=8)
    assert len(rest.images) == 3


def test_given_labels_never_touch_the_truth(prepared, monkeypatch):
    def refuse(*_):
        raise AssertionError("the reference mask of a training case was read")

    monkeypatch.setattr(PreparedSet, "truth", refuse)
    view = _view(prepared, augment=None)
    for batch in epoch_batches(view, epoch=0, batch=4):
        assert (batch.labels[:, :, 0] == 1).all()  # the given half, not its complement
    public = {name: getattr(view, name) for name in dir(view) if not name.startswith("_")}
    assert not any("truth" in name for name in public)
    assert not any(isinstance(value, PreparedSet) for value in public.values())


def test_true_labels_are_an_explicit_choice(prepared):
    for batch in epoch_batches(_view(prepared, augment=None, labels="truth"), epoch=0, batch=4):
        assert (batch.labels[:, :, 0] == 0).all()
        assert (batch.labels[:, :, -1] == 1).all()


def test_true_labels_that_are_missing_are_named_at_once(tmp_path):
    with SetWriter(tmp_path / "set", name="x", classes=("background", "a"), channels=1) as writer:
        image, label = np.ones((4, 4, 1), np.uint8), np.eye(4, dtype=np.uint8)
        writer.add(id="poor", role="train", group="", image=image, label=label)
    with pytest.raises(InputError, match="such as 'poor'; use labels='given'"):
        SegmentationDataset(PreparedSet.open(tmp_path / "set"), "train", 8, labels="truth")


def test_wrong_arguments_are_said_in_a_sentence(prepared):
    with pytest.raises(InputError, match="has no val cases"):
        SegmentationDataset(prepared, "val", SIZE)
    with pytest.raises(InputError, match="did you mean 'gold'"):
        SegmentationDataset(prepared, "golden", SIZE)
    with pytest.raises(InputError, match="did you mean 'truth'"):
        SegmentationDataset(prepared, "train", SIZE, labels="thruth")
    with pytest.raises(InputError, match="size must be at least 2"):
        SegmentationDataset(prepared, "train", 0)
    for options in ({"batch": 0}, {"batch": 1, "start": -1}, {"batch": 1, "steps": -1}):
        with pytest.raises(InputError, match=r"at least \d, .*got"):
            epoch_batches(_view(prepared), epoch=0, **options)


def test_a_damaged_case_is_named_by_the_batch_that_needs_it(tmp_path):
    rng = np.random.default_rng(2)
    with SetWriter(tmp_path / "set", name="x", classes=("background", "a"), channels=1) as writer:
        for number in range(4):
            image = rng.integers(0, 255, (8, 8, 1)).astype(np.uint8)
            label = np.eye(8, dtype=np.uint8)
            writer.add(id=f"case {number}", role="train", group="", image=image, label=label)
    file = tmp_path / "set/arrays/image-00000/c.2.0.0.0"
    file.write_bytes(file.read_bytes()[:-1] + b"\x00\x00")
    view = SegmentationDataset(PreparedSet.open(tmp_path / "set"), "train", 8)
    position = view.order(0).index(2)
    batches = epoch_batches(view, epoch=0, batch=1)
    for _ in range(position):
        next(batches)
    with pytest.raises(InputError, match=r"c\.2\.0\.0\.0: the image of case 'case 2'"):
        next(batches)


def test_an_epoch_that_is_left_early_leaves_no_thread(prepared):
    import threading

    before = threading.active_count()
    batches = epoch_batches(_view(prepared), epoch=0, batch=1)
    next(batches)
    batches.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("size", [3, 8, 20, 40])
def test_no_edge_is_lost_on_the_way_to_the_frame(size):
    edges = np.zeros((40, 40), np.uint8)
    edges[17] = np.arange(40) + 1
    grid = resize_edges_to_input(edges, size)
    assert (grid.shape, grid.dtype) == ((size, size), torch.uint8)
    assert (grid > 0).sum(dim=0).tolist() == [1] * size  # one closed line, and the strongest of each stretch
    assert grid.max(dim=0).values.tolist() == [-(-40 * (column + 1) // size) for column in range(size)]


def test_edges_come_with_the_batch_as_probabilities(with_edges):
    view = _view(with_edges, augment=None)
    (batch,) = epoch_batches(view, epoch=0, batch=2)
    assert view.has_edges
    strong = batch.edges[batch.indices.tolist().index(0)]
    assert sorted(set(strong.flatten().tolist())) == pytest.approx([0.0, 0.2])
    assert (
        strong > 0
    ).sum() == 2 * 14  # of 16 rows, rows 5 to 40 of the image touch 14; columns 14 and 15 touch two
    assert batch.edges[batch.indices.tolist().index(1)].abs().max() == 0


def test_edges_travel_through_the_warp_of_the_label(with_edges):
    still = _view(with_edges, augment=None).sample(0, 0)
    seen = set()
    for epoch in range(12):
        moved = _view(with_edges, augment=AugmentOptions(rotation=0.0, zoom=(0, 0))).sample(0, epoch)
        flips = tuple(int(moved.warp[axis, axis] < 0) for axis in (0, 1))  # left-right, top-bottom
        seen.add(flips)
        turned = [axis - 1 for axis, flip in zip((0, -1), flips, strict=True) if flip]
        assert torch.equal(moved.edges, still.edges.flip(turned))
        torch.testing.assert_close(moved.image[0], still.image[0].flip(turned), atol=1e-4, rtol=0)
    assert len(seen) == 4
    turned = _view(with_edges, augment=AugmentOptions(zoom=(1, 3)))
    samples = [turned.sample(0, epoch) for epoch in range(12)]
    assert any((sample.label == IGNORE).any() for sample in samples)
    assert all((sample.edges[sample.label == IGNORE] == 0).all() for sample in samples)


def test_kept_frames_with_edges_change_no_bit(with_edges, monkeypatch):
    kept = [batch for epoch in range(2) for batch in epoch_batches(_view(with_edges), epoch=epoch, batch=1)]
    monkeypatch.setattr("metadcseg.data.loading.input_grid.INPUT_CACHE_BYTES", 0)
    read = [batch for epoch in range(2) for batch in epoch_batches(_view(with_edges), epoch=epoch, batch=1)]
    assert all(torch.equal(one.edges, other.edges) for one, other in zip(kept, read, strict=True))


def test_every_lane_is_shuffled_by_itself_and_gives_one_image_to_each_batch(prepared):
    view = _view(prepared)
    orders = [view.order(epoch, lanes=3) for epoch in range(20)]
    for order in orders:
        assert sorted(order) == list(range(7))
        assert [row % 3 for row in order] == [0, 1, 2, 0, 1, 2, 0]
    assert len({tuple(order) for order in orders}) > 10
    assert {order[-1] for order in orders} == {0, 3, 6}  # who comes last changes, within its lane
    assert [view.order(3, lanes=3), view.order(3, lanes=99)] == [view.order(3, lanes=3), list(range(7))]


@pytest.mark.parametrize("steps", [None, 5])
@pytest.mark.parametrize("devices", [2, 4])
def test_the_parts_of_devices_make_the_same_batches_as_one_device(prepared, devices, steps):
    whole = list(epoch_batches(_view(prepared), epoch=1, batch=4, steps=steps))
    shares = [Shard(number, devices) for number in range(devices)]
    parts = [list(epoch_batches(_view(prepared), epoch=1, batch=4, steps=steps, shard=s)) for s in shares]
    for batch, *pieces in zip(whole, *parts, strict=True):
        together = {}
        for piece in pieces:
            assert piece.shard_of.images == len(batch.images) / devices
            assert piece.shard_of.pixels == (piece.labels != IGNORE).sum()
            rows = zip(piece.indices.tolist(), piece.images, piece.labels, strict=True)
            together |= {i: (image, label) for i, image, label in rows if (label != IGNORE).any()}
        assert sum(piece.shard_of.pixels for piece in pieces) == (batch.labels != IGNORE).sum()
        for index, image, label in zip(batch.indices.tolist(), batch.images, batch.labels, strict=True):
            assert (
                torch.equal(together[index][0], image) or steps is not None
            )  # there an image may come twice
            assert torch.equal(together[index][1], label) or steps is not None
        assert together.keys() == set(batch.indices.tolist())


def test_an_image_belongs_to_one_device_and_one_without_any_shows_its_own_unlabeled(prepared):
    for number in range(4):
        batches = list(epoch_batches(_view(prepared), epoch=2, batch=4, shard=Shard(number, 4)))
        assert len(batches) == 2
        assert all((batch.indices % 4 == number).all() for batch in batches)
    assert (batches[1].labels == IGNORE).all()  # seven images: the fourth device has none of the last three
    assert batches[1].indices.tolist() == [3]
    assert (batches[1].shard_of.images, batches[1].shard_of.pixels) == (3 / 4, 0)


def test_shares_that_cannot_be_are_refused(prepared):
    with pytest.raises(InputError, match="cannot be shared by 3 devices"):
        epoch_batches(_view(prepared), epoch=0, batch=4, shard=Shard(0, 3))
    with pytest.raises(InputError, match="not exceed the cases"):
        epoch_batches(_view(prepared), epoch=0, batch=8, shard=Shard(0, 8))
    with pytest.raises(InputError, match="a rank from 0 to 1, got 2"):
        Shard(2, 2)


def test_far_too_many_workers_are_refused_before_one_is_started(prepared):
    with pytest.raises(
        InputError, match=r"training\.workers must be at most \d+ on this machine, got 100000"
    ):
        BatchLoader(_view(prepared), batch=1, workers=100_000)


def test_workers_change_no_bit_and_name_the_file_that_is_broken(prepared, tmp_path):
    folder = tmp_path / "set"
    shutil.copytree(prepared.path, folder)
    damaged = PreparedSet.open(folder)
    place = damaged._places[damaged.select("train")[3].row]["image"]
    file = chunk_file(folder, place.array, place.index)
    file.write_bytes(file.read_bytes()[:-1] + b"\x00\x00")
    loader = BatchLoader(_view(damaged), batch=1, workers=1)

    def told(batches):
        """Return the batches up to the error, and its sentence."""
        made = []
        with pytest.raises(InputError) as caught:
            deque(map(made.append, batches))
        return made, str(caught.value)

    for epoch, start in ((0, 0), (3, 0), (0, 1)):
        alone, sentence = told(epoch_batches(_view(damaged), epoch=epoch, batch=1, start=start))
        found, said = told(loader.epoch(epoch, start))
        assert "case/3" in said
        assert said == sentence
        assert len(found) == len(alone)
        assert all(_same(one, other) for one, other in zip(found, alone, strict=True))
    assert len(multiprocessing.active_children()) == 1  # the same for all epochs
    del loader
    gc.collect()
    assert multiprocessing.active_children() == []


@pytest.mark.parametrize("torch_says", ["DataLoader worker (pid 7) is killed by signal: Killed.", "another"])
def test_the_loss_of_a_worker_is_said_in_a_sentence(torch_says):
    with pytest.raises(RuntimeError if torch_says == "another" else InputError) as caught, loaders_lost():
        raise RuntimeError(torch_says)
    assert ("give fewer --training.workers" in str(caught.value)) == (torch_says != "another")
