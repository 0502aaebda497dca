"""Weight models: what they keep, in which frame, and what a checkpoint brings back."""

import pytest
import torch
from torch import Tensor

from metadcseg.algorithm.meta_weights import PixelGradients
from metadcseg.errors import InputError
from metadcseg.methods.weight_models import NoMemory, PersistentWeights
from metadcseg.tensors import IGNORE, Batch
from metadcseg.warp import Warp

FLIP = torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
ZOOM_IN = torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]])
FEATURES = torch.zeros(1, 1, 4, 4)


def _batch(indices: tuple[int, ...] = (0,), matrix: Tensor | None = None, size: int = 4) -> Batch:
    count = len(indices)
    warp = Warp.identity(count) if matrix is None else Warp(matrix.expand(count, 2, 3))
    labels = torch.zeros(count, size, size, dtype=torch.int64)
    labels[:, 1:3, 1:3] = 1
    return Batch(torch.zeros(count, 1, size, size), labels, torch.tensor(indices), warp)


def _gradients(*values: Tensor) -> PixelGradients:
    alpha = torch.stack(values)
    return PixelGradients(alpha, -alpha)


RAMP = torch.arange(16.0).reshape(4, 4) / 16 + 0.1


@pytest.mark.parametrize("model", [PersistentWeights, NoMemory])
def test_unseen_images_start_from_eq_2(model: type) -> None:
    weights = model(0.1, "none").read(_batch((3, 8)), FEATURES)
    assert torch.equal(weights.alpha, torch.ones(2, 4, 4))
    assert torch.equal(weights.beta, torch.zeros(2, 4, 4))


def test_update_descends_and_is_kept_for_the_image_alone() -> None:
    model = PersistentWeights(0.5, "none")
    after = model.update(_batch((3,)), FEATURES, _gradients(RAMP))
    torch.testing.assert_close(after.alpha, (1 - 0.5 * RAMP)[None])
    torch.testing.assert_close(after.beta, (0.5 * RAMP)[None])
    kept = model.read(_batch((8, 3)), FEATURES)
    torch.testing.assert_close(kept.alpha[1], after.alpha[0])
    torch.testing.assert_close(kept.beta[1], after.beta[0])
    assert torch.equal(kept.alpha[0], torch.ones(4, 4))
    assert len(model) == 1


def test_weights_written_in_a_flipped_frame_are_read_in_the_own_frame() -> None:
    model = PersistentWeights(0.5, "none")
    model.update(_batch(matrix=FLIP), FEATURES, _gradients(RAMP))
    own = model.read(_batch(), FEATURES)
    torch.testing.assert_close(own.alpha[0], (1 - 0.5 * RAMP).flip(1))
    torch.testing.assert_close(own.beta[0], (0.5 * RAMP).flip(1))
    flipped = model.read(_batch(matrix=FLIP), FEATURES)
    torch.testing.assert_close(flipped.alpha[0], 1 - 0.5 * RAMP)


def test_pixels_out_of_view_keep_their_pair() -> None:
    model = PersistentWeights(0.5, "none")
    model.update(_batch(), FEATURES, _gradients(RAMP))
    before = model.read(_batch(), FEATURES)
    model.update(_batch(matrix=ZOOM_IN), FEATURES, _gradients(torch.ones(4, 4)))
    after = model.read(_batch(), FEATURES)
    border = torch.ones(4, 4, dtype=torch.bool)
    border[1:3, 1:3] = False
    assert torch.equal(after.alpha[0][border], before.alpha[0][border])
    torch.testing.assert_close(after.alpha[0][~border], (before.alpha[0][~border] - 0.5).clamp(min=0))
    torch.testing.assert_close(after.beta[0][~border], before.beta[0][~border] + 0.5)


def test_beyond_the_edge_the_pair_is_that_of_eq_2() -> None:
    model = PersistentWeights(0.5, "none")
    model.update(_batch(), FEATURES, _gradients(RAMP))
    zoomed_out = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]])
    seen = model.read(_batch(matrix=zoomed_out), FEATURES)
    assert torch.equal(seen.alpha[0, 0], torch.ones(4))
    assert torch.equal(seen.beta[0, 0], torch.zeros(4))
    assert (seen.alpha[0, 1:3, 1:3] < 1).all()


@pytest.mark.parametrize("model", [PersistentWeights, NoMemory])
@pytest.mark.parametrize("scaling", ["rms", "none"])
def test_ignored_pixels_do_not_move(model: type, scaling: str) -> None:
    batch = _batch()
    batch.labels[0, 0, 0] = IGNORE
    after = model(0.1, scaling).update(batch, FEATURES, _gradients(torch.ones(4, 4)))
    assert (after.alpha[0, 0, 0], after.beta[0, 0, 0]) == (1, 0)
    assert (after.alpha.flatten()[1:] < 1).all()


def test_weights_never_fall_below_zero() -> None:
    model = PersistentWeights(5.0, "none")
    for matrix in (None, FLIP, ZOOM_IN):
        model.update(_batch(matrix=matrix), FEATURES, _gradients(RAMP - 0.5))
    kept = model.read(_batch(), FEATURES)
    assert kept.alpha.min() == 0
    assert kept.beta.min() == 0


def test_no_memory_forgets() -> None:
    model = NoMemory(0.5, "none")
    after = model.update(_batch(), FEATURES, _gradients(RAMP))
    assert (after.alpha < 1).all()
    assert torch.equal(model.read(_batch(), FEATURES).alpha, torch.ones(1, 4, 4))
    assert model.state_dict() == {}


def test_state_round_trips_bit_for_bit_and_shares_no_memory() -> None:
    model = PersistentWeights(0.3, "rms")
    model.update(_batch((9, 2), matrix=FLIP), FEATURES, _gradients(RAMP, RAMP.T))
    state = model.state_dict()
    assert all(isinstance(value, Tensor) for value in state.values())
    assert state["images"].tolist() == [2, 9]
    restored = PersistentWeights(0.3, "rms")
    restored.load_state_dict(state)
    model.update(_batch((2,)), FEATURES, _gradients(RAMP))
    restored.update(_batch((2,)), FEATURES, _gradients(RAMP))
    for index in (2, 9):
        ours, theirs = (one.read(_batch((index,)), FEATURES) for one in (model, restored))
        assert torch.equal(ours.alpha, theirs.alpha)
        assert torch.equal(ours.beta, theirs.beta)


def test_empty_state_round_trips() -> None:
    model = PersistentWeights(0.3, "rms")
    restored = PersistentWeights(0.3, "rms")
    restored.load_state_dict(model.state_dict())
    assert len(restored) == 0


def test_another_frame_size_is_refused() -> None:
    model = PersistentWeights(0.3, "rms")
    model.update(_batch(), FEATURES, _gradients(RAMP))
    with pytest.raises(
        InputError, match=r"image 0 have \(4, 4\) pixels, but the training frame has \(8, 8\)"
    ):
        model.read(_batch(size=8), FEATURES)
