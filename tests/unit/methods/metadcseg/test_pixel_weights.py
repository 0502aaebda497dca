"""The pairs of all pixels: what is kept, in which grid, and what a checkpoint brings back."""

from contextlib import nullcontext
from pathlib import Path

import pytest
import torch
from tests.contract.tools import storage
from torch import Tensor

from metadcseg.errors import InputError
from metadcseg.methods.metadcseg.pixel_weights import PixelWeights
from metadcseg.methods.metadcseg.scaling import Scaling
from metadcseg.tensors import IGNORE, Batch, PixelGradients
from metadcseg.warp import Warp


def _lasting(eta: float, scaling: Scaling, size: int = 4, folder: Path | None = None) -> PixelWeights:
    return PixelWeights(eta, scaling, storage(size=size, folder=folder))


def assert_near(got: Tensor, expected: Tensor) -> None:
    """Equal up to what half precision leaves of a weight between 0 and 2."""
    torch.testing.assert_close(got, expected, rtol=0, atol=2**-11)


FLIP = torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]])
ZOOM_IN = torch.tensor([[[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]])


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


def test_maps_are_moved_on_the_device_of_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of the device ``meta`` have no numbers and mix with no others."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: nullcontext())  # knows no such device
    weights = _lasting(0.1, "none").read(_batch((3, 8), FLIP).to(torch.device("meta")))
    assert (weights.alpha.device.type, weights.beta.device.type) == ("meta", "meta")


def test_unseen_images_start_from_eq_2() -> None:
    weights = _lasting(0.1, "none").read(_batch((3, 8)))
    assert torch.equal(weights.alpha, torch.ones(2, 4, 4))
    assert torch.equal(weights.beta, torch.zeros(2, 4, 4))


def test_update_descends_and_is_kept_for_the_image_alone() -> None:
    model = _lasting(0.5, "none")
    after = model.update(_batch((3,)), _gradients(RAMP))
    assert_near(after.alpha, (1 - 0.5 * RAMP)[None])
    assert_near(after.beta, (0.5 * RAMP)[None])
    kept = model.read(_batch((8, 3)))
    assert_near(kept.alpha[1], after.alpha[0])
    assert_near(kept.beta[1], after.beta[0])
    assert torch.equal(kept.alpha[0], torch.ones(4, 4))


def test_weights_written_in_a_flipped_grid_are_read_in_the_own_grid() -> None:
    model = _lasting(0.5, "none")
    model.update(_batch(matrix=FLIP), _gradients(RAMP))
    own = model.read(_batch())
    assert_near(own.alpha[0], (1 - 0.5 * RAMP).flip(1))
    assert_near(own.beta[0], (0.5 * RAMP).flip(1))
    flipped = model.read(_batch(matrix=FLIP))
    assert_near(flipped.alpha[0], 1 - 0.5 * RAMP)


def test_pixels_out_of_view_keep_their_pair() -> None:
    model = _lasting(0.5, "none")
    model.update(_batch(), _gradients(RAMP))
    before = model.read(_batch())
    model.update(_batch(matrix=ZOOM_IN), _gradients(torch.ones(4, 4)))
    after = model.read(_batch())
    border = torch.ones(4, 4, dtype=torch.bool)
    border[1:3, 1:3] = False
    assert torch.equal(after.alpha[0][border], before.alpha[0][border])
    assert_near(after.alpha[0][~border], (before.alpha[0][~border] - 0.5).clamp(min=0))
    assert_near(after.beta[0][~border], before.beta[0][~border] + 0.5)


def test_beyond_the_edge_the_pair_is_that_of_eq_2() -> None:
    model = _lasting(0.5, "none")
    model.update(_batch(), _gradients(RAMP))
    zoomed_out = torch.tensor([[[2.0, 0.0, 0.0], [0.0, 2.0, 0.0]]])
    seen = model.read(_batch(matrix=zoomed_out))
    assert torch.equal(seen.alpha[0, 0], torch.ones(4))
    assert torch.equal(seen.beta[0, 0], torch.zeros(4))
    assert (seen.alpha[0, 1:3, 1:3] < 1).all()


@pytest.mark.parametrize("scaling", ["rms", "none"])
def test_ignored_pixels_do_not_move(scaling: Scaling) -> None:
    batch = _batch()
    batch.labels[0, 0, 0] = IGNORE
    after = _lasting(0.1, scaling).update(batch, _gradients(torch.ones(4, 4)))
    assert (after.alpha[0, 0, 0], after.beta[0, 0, 0]) == (1, 0)
    assert (after.alpha.flatten()[1:] < 1).all()


def test_weights_never_fall_below_zero() -> None:
    model = _lasting(5.0, "none")
    for matrix in (None, FLIP, ZOOM_IN):
        model.update(_batch(matrix=matrix), _gradients(RAMP - 0.5))
    kept = model.read(_batch())
    assert kept.alpha.min() == 0
    assert kept.beta.min() == 0


def test_another_process_goes_on_from_what_the_storage_holds(tmp_path: Path) -> None:
    kept = storage(size=4, folder=tmp_path)
    model = PixelWeights(0.3, "rms", kept)
    model.update(_batch((9, 2), matrix=FLIP), _gradients(RAMP, RAMP.T))
    assert model.state_dict() == {}
    resumed = storage(size=4, folder=tmp_path)
    restored = PixelWeights(0.3, "rms", resumed)
    resumed.load_state_dict(kept.state_dict())
    for index in (2, 9, 3):
        ours, theirs = (one.read(_batch((index,))) for one in (model, restored))
        assert torch.equal(ours.alpha, theirs.alpha)
        assert torch.equal(ours.beta, theirs.beta)
        assert (ours.alpha == 1).all() == (index == 3)


def test_small_updates_are_not_rounded_away() -> None:
    """Near eq. 2, half precision of the distance from it resolves what half precision of 1 would not."""
    model = _lasting(1.0, "none")
    for _ in range(50):
        model.update(_batch(), _gradients(torch.full((4, 4), 1e-5)))
    kept = model.read(_batch())
    torch.testing.assert_close(kept.beta, torch.full((1, 4, 4), 5e-4), rtol=0.01, atol=0)
    torch.testing.assert_close(1 - kept.alpha, torch.full((1, 4, 4), 5e-4), rtol=0.01, atol=0)
    assert torch.tensor(1 - 1e-5).half() == 1


def test_an_image_that_stands_twice_in_a_batch_takes_both_steps() -> None:
    model = _lasting(0.25, "none")
    model.update(_batch((3, 3)), _gradients(torch.ones(4, 4), torch.ones(4, 4)))
    assert torch.equal(model.read(_batch((3,))).alpha, torch.full((1, 4, 4), 0.5))


def test_another_frame_size_is_refused() -> None:
    model = _lasting(0.3, "rms")
    with pytest.raises(InputError, match=r"have \(4, 4\) pixels, but this batch has \(8, 8\)"):
        model.read(_batch(size=8))
