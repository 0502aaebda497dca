import pytest
import torch
from tests.reference import meta_weights as slow_weights
from tests.reference import objective as slow

from metadcseg.errors import InputError
from metadcseg.losses import mean_over_pixels, pixel_cross_entropy, soft_dice_loss
from metadcseg.tensors import IGNORE


def example(seed=0, classes=3):
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, classes, 4, 5, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, classes, (2, 4, 5), generator=generator)
    labels[0, 0, :3] = torch.tensor([0, 1, IGNORE])
    labels[1, 3, 4] = IGNORE
    return logits, labels


def test_cross_entropy_equals_the_loop():
    logits, labels = example()
    got = pixel_cross_entropy(logits, labels)
    assert (got[labels == IGNORE] == 0).all()
    for i, h, w in (labels != IGNORE).nonzero().tolist():
        expected = slow_weights.cross_entropy(logits[i, :, h, w].tolist(), int(labels[i, h, w]))
        assert got[i, h, w].item() == pytest.approx(expected, rel=1e-12)


def test_cross_entropy_of_an_ignored_pixel_has_no_gradient():
    logits, labels = example()
    logits.requires_grad_()
    pixel_cross_entropy(logits, labels).sum().backward()
    reached = logits.grad.abs().sum(dim=1) > 0
    assert torch.equal(reached, labels != IGNORE)


@pytest.mark.parametrize("classes", [2, 4])
def test_dice_equals_the_loop(classes):
    logits, labels = example(classes=classes)
    probabilities = logits.softmax(1)
    got = soft_dice_loss(probabilities, labels)
    for i in range(2):
        expected = slow.dice_loss(probabilities[i].numpy(), labels[i].numpy())
        assert got[i].item() == pytest.approx(expected, rel=1e-12)


def one_hot(labels, classes):
    return torch.nn.functional.one_hot(labels, classes).permute(0, 3, 1, 2).double()


def test_dice_of_exact_agreement_is_zero_also_where_a_class_is_absent():
    labels = torch.tensor([[[0, 1], [1, 0]]])  # class 2 is absent
    assert soft_dice_loss(one_hot(labels, 3), labels).item() == 0.0


def test_dice_asks_for_no_foreground_in_an_image_of_background():
    labels = torch.zeros(1, 4, 4, dtype=torch.int64)
    probabilities = torch.full((1, 2, 4, 4), 0.5, dtype=torch.float64, requires_grad=True)
    loss = soft_dice_loss(probabilities, labels)
    assert loss.item() == pytest.approx(1 - 1 / (16 * 0.5 + 1))
    loss.sum().backward()
    assert (probabilities.grad[:, 1] > 0).all()


def test_dice_of_a_missed_object_approaches_one():
    labels = torch.ones(1, 16, 16, dtype=torch.int64)
    nothing = one_hot(torch.zeros_like(labels), 2)
    assert soft_dice_loss(nothing, labels).item() == pytest.approx(1 - 1 / 257)


def test_dice_is_zero_and_finite_where_no_pixel_counts():
    labels = torch.full((1, 3, 3), IGNORE)
    probabilities = torch.full((1, 2, 3, 3), torch.nan, dtype=torch.float64, requires_grad=True)
    loss = soft_dice_loss(probabilities, labels)
    loss.sum().backward()
    assert loss.item() == 0.0
    assert (probabilities.grad == 0).all()


def test_dice_of_half_precision_is_summed_in_float32():
    labels = torch.ones(1, 300, 300, dtype=torch.int64)  # 90000 overflows in float16
    loss = soft_dice_loss(one_hot(labels, 2).half(), labels)
    assert loss.dtype == torch.float32
    assert loss.item() == 0.0


def test_dice_needs_a_foreground_class():
    with pytest.raises(InputError, match="at least 2 classes"):
        soft_dice_loss(torch.ones(1, 1, 2, 2), torch.zeros(1, 2, 2, dtype=torch.int64))


def test_mean_over_pixels_leaves_ignored_pixels_out():
    _, labels = example()
    maps = torch.rand(2, 4, 5, dtype=torch.float64)
    expected = maps[labels != IGNORE].mean()
    maps[labels == IGNORE] = torch.nan
    torch.testing.assert_close(mean_over_pixels(maps, labels), expected, rtol=1e-14, atol=0)


def test_mean_over_no_pixels_is_zero_and_in_the_graph():
    maps = torch.ones(1, 2, 2, requires_grad=True)
    mean = mean_over_pixels(maps, torch.full((1, 2, 2), IGNORE))
    mean.backward()
    assert mean.item() == 0.0
    assert (maps.grad == 0).all()


@pytest.mark.parametrize("loss", [pixel_cross_entropy, lambda maps, labels: soft_dice_loss(maps, labels)])
@pytest.mark.parametrize("label", [-1, 3, 254])
def test_labels_that_are_no_class_are_refused(loss, label):
    labels = torch.zeros(1, 2, 2, dtype=torch.int64)
    labels[0, 0, 0] = IGNORE
    loss(torch.zeros(1, 3, 2, 2), labels)
    labels[0, 1, 1] = label
    with pytest.raises(InputError, match=f"labels must be from 0 to 2, or 255 where unknown, got {label}"):
        loss(torch.zeros(1, 3, 2, 2), labels)
