"""The method maxformer: its Dice loss of a whole batch, on one device or several."""

import torch

from metadcseg.methods.maxformer import batch_dice_loss
from metadcseg.tensors import IGNORE, Batch, GlobalBatchSize
from metadcseg.warp import Warp

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(4, 3, 5, 5, generator=GENERATOR)
LABELS = torch.randint(3, (4, 5, 5), generator=GENERATOR)
LABELS[0, :2] = IGNORE


def batch(part=slice(None), **more) -> Batch:
    labels = LABELS[part]
    count = len(labels)
    return Batch(torch.zeros(count, 1, 5, 5), labels, torch.arange(count), Warp.identity(count), **more)


def gradient(loss, logits):
    return torch.autograd.grad(loss, logits)[0]


def test_by_hand_over_all_classes_and_the_whole_batch():
    p, valid = LOGITS.softmax(1), (LABELS != IGNORE).unsqueeze(1)
    y = torch.nn.functional.one_hot(LABELS.masked_fill(LABELS == IGNORE, 0), 3).movedim(-1, 1) * valid
    p = p * valid
    scores = [
        (2 * (p * y)[:, k].sum() + 1e-5) / ((p * p)[:, k].sum() + (y * y)[:, k].sum() + 1e-5)
        for k in range(3)
    ]
    torch.testing.assert_close(batch_dice_loss(LOGITS.softmax(1), batch()), 1 - sum(scores) / 3)


def test_an_ignored_pixel_changes_nothing():
    other = LOGITS.clone()
    other[0, :, :2] += 7 * torch.randn(3, 2, 5, generator=GENERATOR)
    assert torch.equal(
        batch_dice_loss(LOGITS.softmax(1), batch()), batch_dice_loss(other.softmax(1), batch())
    )


def test_confidence_one_half_everywhere_is_the_same_ratio():
    half = torch.full(LABELS.shape, 0.5)
    found = batch_dice_loss(LOGITS.softmax(1), batch(label_confidence=half))
    torch.testing.assert_close(found, batch_dice_loss(LOGITS.softmax(1), batch()), rtol=1e-5, atol=1e-6)


def test_the_average_over_two_devices_is_the_joint_loss_and_gradient():
    logits = LOGITS.clone().requires_grad_()
    whole = batch_dice_loss(logits.softmax(1), batch())
    size = GlobalBatchSize(batch().global_batch_size.pixels / 2, 2.0, 2)
    parts = [slice(0, 1), slice(1, 4)]
    sums = []

    def gather(named):
        sums.append(named)
        return named

    for part in parts:
        batch_dice_loss(logits[part].softmax(1), batch(part, shard_of=size), gather)
    mean = {name: (sums[0][name] + sums[1][name]) / 2 for name in sums[0]}
    losses = [
        batch_dice_loss(logits[part].softmax(1), batch(part, shard_of=size), lambda _: mean) for part in parts
    ]
    for loss in losses:
        torch.testing.assert_close(loss, whole)
    torch.testing.assert_close(gradient(sum(losses) / 2, logits), gradient(whole, logits))
