"""What pairs show of the direction of errors counts as far as they agree on it."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.contract.tools import batch, gold_batch, tiny_network
from tests.unit.methods.calibrated.test_calibrated import started
from tests.unit.methods.test_pair_table import disk, pair_batch, table_of
from torch.utils._python_dispatch import TorchDispatchMode

from metadcseg.methods.calibrated.directions import LARGEST, scale_of_directions

RADIUS = 12


def pairs_off_by(offsets):
    """The table of verified disks beside masks whose radius is off by so much."""
    given = torch.stack([disk(RADIUS + offset) for offset in offsets])
    return table_of(pair_batch(given, torch.stack([disk(RADIUS)] * len(offsets))))


def shrunk(table):
    return table.shares() * scale_of_directions(*table.seen())


def net(table, shares):
    """Of the image, what goes from foreground to background less what goes the other way."""
    pixels = table.pixels.sum(dim=3) / table.pixels[:, :, 0].sum(dim=(1, 2)).view(-1, 1, 1)
    given = pixels.mean(dim=0)
    flow = shares * given
    return (flow[1, 0] - flow[0, 1]).item(), (flow[1, 0] + flow[0, 1]).item()


@pytest.mark.parametrize("by", [(3, 4, 5, 4), (-3, -4, -5, -4)])
def test_a_direction_on_which_pairs_agree_stays(by):
    table = pairs_off_by(by)
    before, after = (net(table, shares)[0] for shares in (table.shares(), shrunk(table)))
    assert 0.95 < after / before <= 1


def test_how_much_is_wrong_in_both_directions_together_stays():
    table = pairs_off_by((4, -2, 3, -3))
    scale = scale_of_directions(*table.seen())
    (before, whole), (after, kept) = net(table, table.shares()), net(table, shrunk(table))
    assert kept == pytest.approx(whole, rel=1e-5)
    assert 0 < after < before / 2  # within one standard error
    assert scale[1, 0] < 1 < scale[0, 1]


def test_few_pairs_that_err_by_chance_to_one_side_move_outlines_less():
    """Masks are too large as often as too small; 300 times four of them are verified."""
    draws = np.random.default_rng(5)
    errors = []
    for _ in range(300):
        table = pairs_off_by(draws.integers(-4, 5, 4).tolist())
        errors.append([net(table, shares)[0] for shares in (table.shares(), shrunk(table))])
    plain, less = np.sqrt(np.square(errors).mean(axis=0))
    assert less < 0.85 * plain


def test_errors_that_no_pair_shows_are_not_made_up():
    verified = torch.stack([disk(12), disk(6)])
    verified[:, 2:6, 2:6] = 2
    verified[1, 2:6, 2:12] = 2  # of two classes, both were overlooked in both masks, not alike
    given = torch.zeros_like(verified)
    given[:, 0, 0], given[:, 0, 1] = 1, 2
    verified[:, 0, 0], verified[:, 0, 1] = 1, 2
    table = table_of(pair_batch(given, verified), classes=3)
    scale = scale_of_directions(*table.seen())
    assert (scale[0, 1:] < 1).all()
    assert (scale[1:] == 1).all()
    assert not shrunk(table)[1:].any()


def test_overlooked_objects_are_no_direction_of_outlines():
    """All that was drawn is too large; that some was not drawn at all does not speak against it."""
    verified = torch.stack([disk(8 + number) for number in range(6)])
    given = torch.stack([disk(10 + number) for number in range(6)])
    alone = table_of(pair_batch(given[2:], verified[2:]), images=6)
    given[:2] = 0
    table = table_of(pair_batch(given, verified), images=6)
    assert scale_of_directions(*alone.seen())[1, 0] > 0.9
    assert scale_of_directions(*table.seen())[1, 0] > 0.85
    scale = scale_of_directions(*table.seen())
    assert torch.equal(table.pooled(scale=scale)[0, 1], table.pooled()[0, 1])


@pytest.mark.parametrize(("pairs", "wrong"), [(4, 1), (6, 2), (20, 3)])
def test_whole_objects_are_no_direction_whether_overlooked_or_invented(pairs, wrong):
    object_, nothing = disk(10), torch.zeros_like(disk(10))
    verified = torch.stack([object_] * (pairs - wrong) + [nothing] * wrong)
    given = torch.stack([nothing] * wrong + [object_] * (pairs - wrong))
    scale = scale_of_directions(*table_of(pair_batch(given, verified), images=pairs).seen())
    assert torch.equal(scale, torch.ones_like(scale))


def test_next_to_nothing_is_at_most_doubled():
    """One mask is far too small, the other a little too large: no direction is agreed on."""
    scale = scale_of_directions(*pairs_off_by((-11, 1)).seen())
    assert scale[1, 0] == LARGEST
    assert 0.5 <= scale[0, 1] < 1


class Apple(TorchDispatchMode):
    """Device ``meta`` stands for one without double precision; what is copied from there is ones."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        told = dict(kwargs or {})
        if func is torch.ops.aten._to_copy.default and args[0].is_meta and str(told.get("device")) == "cpu":
            return torch.ones(args[0].shape, dtype=told.get("dtype") or args[0].dtype)
        made = func(*args, **told)
        assert not (isinstance(made, torch.Tensor) and made.is_meta and made.dtype == torch.float64), func
        return made


def test_a_device_without_double_precision_gets_its_answer_back():
    with Apple():
        pixels = torch.ones(2, 2, 2, 3, device="meta")
        assert scale_of_directions(pixels, pixels / 4).device.type == "meta"


def test_the_method_trusts_more_where_pairs_disagree():
    doubts = []
    for shrinks in (True, False):
        method, state = started(tiny_network(), shrink_directions=shrinks, witness="none", dcd=False)
        gold = gold_batch(100, count=4)
        larger = torch.nn.functional.max_pool2d(gold.labels.float(), 3, 1, 1).long()
        given = torch.where(torch.arange(4).view(-1, 1, 1) < 3, larger, torch.zeros_like(larger))
        report = method.step(state, batch(0), replace(gold, given=given))
        doubts.append(report.maps.beta)
    assert not torch.equal(*doubts)
    assert all(torch.isfinite(doubt).all() for doubt in doubts)
