import pytest
import torch
from tests.reference import objective as slow

from metadcseg.algorithm.boundary import boundary_weights
from metadcseg.algorithm.objective import total_objective
from metadcseg.errors import InputError
from metadcseg.losses import soft_dice_loss
from metadcseg.tensors import IGNORE


def parts(seed=0):
    generator = torch.Generator().manual_seed(seed)
    loss = torch.rand(3, 4, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (3, 4, 5), generator=generator)
    labels[0, 0, :3] = torch.tensor([0, 1, IGNORE])
    on = torch.rand(3, 4, 5, generator=generator) > 0.6
    on[2] = False
    weights = boundary_weights(torch.rand(3, 4, 5, generator=generator, dtype=torch.float64), on, 0.5)
    logits = torch.randn(3, 3, 4, 5, generator=generator, dtype=torch.float64)
    return loss, weights, soft_dice_loss(logits.softmax(1), labels), labels


def test_the_total_equals_the_loop():
    loss, weights, dice, labels = parts()
    got = total_objective(loss, weights, dice, labels, 0.3, 0.7)
    expected = slow.total(*(part.numpy() for part in (loss, weights, dice, labels)), 0.3, 0.7)
    assert got.total.item() == pytest.approx(expected, rel=1e-12)
    assert got.total.item() == pytest.approx((got.pixel + 0.3 * got.boundary + 0.7 * got.dice).item())
    assert got.boundary.item() > 0


def test_both_pixel_terms_have_the_size_of_one_pixels_loss():
    labels = torch.zeros(2, 8, 8, dtype=torch.int64)
    on = torch.zeros(2, 8, 8, dtype=torch.bool)
    on[:, 2] = True
    got = total_objective(
        torch.full((2, 8, 8), 2.5),
        boundary_weights(torch.zeros(2, 8, 8), on, 1.0),
        torch.zeros(2),
        labels,
        1.0,
        1.0,
    )
    assert got.pixel.item() == got.boundary.item() == 2.5


def test_ignored_pixels_count_in_no_term():
    loss, weights, dice, labels = parts()
    wild = loss.masked_fill(labels == IGNORE, torch.nan)
    got, expected = (total_objective(x, weights, dice, labels, 0.3, 0.7) for x in (wild, loss))
    assert torch.equal(got.total, expected.total)


def test_shapes_must_fit():
    loss, weights, dice, labels = parts()
    with pytest.raises(InputError, match="weights_boundary"):
        total_objective(loss, weights[:1], dice, labels, 1.0, 1.0)
    with pytest.raises(InputError, match="dice"):
        total_objective(loss, weights, dice[:1], labels, 1.0, 1.0)
