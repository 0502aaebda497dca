"""Binned weights: its switches switch, its shortcuts change nothing, and it learns whom to trust."""

import copy
from typing import Any

import pytest
import torch
from tests.contract.tools import SIZE, PlainUpdater, batch, storage, tiny_network
from tests.unit.methods.tools import assert_distrusts_wrong_labels, run, same, start

from metadcseg.errors import InputError
from metadcseg.losses import pixel_cross_entropy, soft_dice_loss
from metadcseg.methods import Binned, MethodState, Supervised
from metadcseg.tensors import IGNORE


def table(state: MethodState) -> torch.Tensor:
    """Return what the cells have learned: it is 0 where nothing is known."""
    sums: torch.Tensor = state.parts["weights"].sums
    return sums.clone()


# Switches


def test_without_dcd_is_lambda_boundary_zero_bit_for_bit() -> None:
    without, _ = run(Binned(dcd=False))
    weightless, _ = run(Binned(lambda_boundary=0.0))
    whole, _ = run(Binned())
    assert same(without.network, weightless.network)
    assert not same(without.network, whole.network)


@pytest.mark.parametrize(
    ("ablated", "plain"),
    [
        (Binned(meta=False, dcd=False, lambda_dice=0.0), Supervised(gold="mixed", dice=0.0)),
        (Binned(meta=False, dcd=False, clean_supervision=False, lambda_dice=0.3), Supervised(dice=0.3)),
    ],
)
def test_with_everything_off_it_is_plain_supervision_bit_for_bit(ablated: Any, plain: Any) -> None:
    ours, our_reports = run(ablated)
    theirs, their_reports = run(plain)
    assert same(ours.network, theirs.network)
    assert torch.equal(our_reports[-1].scalars["loss"], their_reports[-1].scalars["loss"])


@pytest.mark.parametrize(
    ("option", "value"), [("lambda_dice", 0.0), ("detach_boundary_weights", False), ("edge_threshold", 0.6)]
)
def test_option_changes_the_training(option: str, value: Any) -> None:
    changed, _ = run(Binned(**{option: value}))
    default, _ = run(Binned())
    assert not same(changed.network, default.network)


def test_the_share_of_edges_is_reported_where_there_are_some() -> None:
    share = run(Binned(edge_threshold=0.5))[1][0].scalars["edge_pixels"]
    assert share == pytest.approx(float((batch(0).edges > 0).float().mean()))
    assert 0 < share < 0.1
    assert run(Binned(edge_threshold=0.6))[1][0].scalars["edge_pixels"] == 0
    assert "edge_pixels" not in run(Binned(dcd=False))[1][0].scalars
    assert Binned().info.uses_edges
    assert not Binned(dcd=False).info.uses_edges


@pytest.mark.parametrize("threshold", [0, 1.01])
def test_an_edge_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(InputError, match=r"binned\.edge_threshold must be above 0 and at most 1, got"):
        Binned(edge_threshold=threshold)


def test_scalars_add_up_to_the_loss() -> None:
    method = Binned(lambda_boundary=0.4, lambda_dice=0.2)
    scalars = run(method)[1][-1].scalars
    total = scalars["pixel"] + 0.4 * scalars["boundary"] + 0.2 * scalars["dice"] + scalars["gold"]
    torch.testing.assert_close(scalars["loss"], total)
    assert scalars["boundary"] > 0
    assert 1 <= scalars["effective_boundary_pixels"] <= SIZE * SIZE


# The meta step


@pytest.mark.parametrize("dice", ["given", "weighted"])
def test_shared_gold_gradient_is_the_gradient_of_the_gold_loss(dice: str) -> None:
    method = Binned(dice=dice, cross_fit=False)  # type: ignore[arg-type]
    with_gold = start(method)
    method.step(with_gold, batch(0), batch(100))
    without = Binned(dice=dice, cross_fit=False, clean_supervision=False)  # type: ignore[arg-type]
    noisy_only = start(without)
    without.step(noisy_only, batch(0), batch(100))

    network = tiny_network()
    gold = batch(100)
    logits = network(gold.images).logits
    loss = pixel_cross_entropy(logits, gold.labels).mean()
    if dice == "weighted":
        loss = loss + method.lambda_dice * soft_dice_loss(logits.softmax(dim=1), gold.labels).mean()
    loss.backward()
    pairs = zip(
        with_gold.network.parameters(), noisy_only.network.parameters(), network.parameters(), strict=True
    )
    for both, noisy, fresh in pairs:
        torch.testing.assert_close(noisy - both, 0.1 * fresh.grad, rtol=1e-4, atol=1e-7)


def test_average_pseudo_labels_need_an_average() -> None:
    made = start(Binned())
    made.updater.ema_model = None
    with pytest.raises(InputError, match=r"switch it on with training\.ema_decay"):
        Binned(pseudo_labels="ema").start(made.network, made.updater, made.generator, storage())


def test_it_learns_to_distrust_wrong_labels() -> None:
    assert_distrusts_wrong_labels(Binned(meta_every=1, discount_symmetric_noise=False))


def test_without_meta_the_weights_rest() -> None:
    state, reports = run(Binned(meta=False))
    assert not table(state).numel()
    assert Binned(meta=False, warmup=3).info.warmup == 0
    for report in reports:
        assert report.maps is not None
        assert torch.equal(report.maps.alpha, torch.ones(2, SIZE, SIZE))


def test_weights_wait_for_the_end_of_the_warm_up() -> None:
    method = Binned(warmup=1)
    state = start(method)
    first = method.step(state, batch(0), batch(100))
    assert not table(state).numel()
    assert first.scalars["gold"] > 0
    assert first.scalars["beta"] == 0
    state.updater.epoch = 1
    state.updater.steps = 2
    moving = method.step(state, batch(1), batch(101))
    assert table(state).count_nonzero()
    assert moving.scalars["beta"] > 0


def test_between_two_meta_steps_the_table_rests_and_is_used() -> None:
    method = Binned(meta_every=2)
    state = start(method)
    reports, kept = [], []
    for _ in range(4):  # the same images every time
        reports.append(method.step(state, batch(0), batch(100)))
        kept.append(table(state))
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[1], kept[2])
    assert torch.equal(kept[2], kept[3])
    assert all(report.scalars["beta"] > 0 for report in reports)


def test_exact_and_linearized_steps_agree_for_a_small_learning_rate() -> None:
    class Slow(PlainUpdater):
        lr = 1e-5

    tables = []
    for virtual_step in ("exact", "linearized"):
        method = Binned(virtual_step=virtual_step, meta_every=1)  # type: ignore[arg-type]
        network = tiny_network()
        state = method.start(network, Slow(network), torch.Generator(), storage())
        method.step(state, batch(0), batch(100))
        tables.append(table(state))
    torch.testing.assert_close(*tables, rtol=1e-3, atol=1e-3 * float(tables[0].abs().max()))
    assert tables[0].count_nonzero()


def test_a_running_mean_of_gold_gradients_carries_on() -> None:
    last = []
    for momentum in (0.0, 0.9):
        state, _ = run(Binned(gold_momentum=momentum, meta_every=1))
        last.append(table(state))
    assert not torch.equal(*last)


def test_pseudo_labels_come_from_the_moving_average_or_the_network() -> None:
    beside = {}
    for source in ("ema", "current"):
        method = Binned(pseudo_labels=source)  # type: ignore[arg-type]
        images = []
        for constant in (0.0, 100.0):
            state = start(method)
            with torch.no_grad():
                average: Any = state.updater.ema_model
                average.module[-1].bias[2] += constant  # an average that sees class 2 everywhere
            report = method.step(state, batch(0), batch(100))
            assert report.maps is not None
            images.append(report.maps.beta)
        beside[source] = torch.equal(*images)
    assert beside == {"ema": False, "current": True}


def test_ignored_pixels_have_no_weight_and_others_that_of_one_label() -> None:
    method = Binned()
    noisy = batch(0)
    noisy.labels[:, :3] = IGNORE
    report = method.step(start(method), noisy, batch(100))
    assert report.maps is not None
    assert (report.maps.gamma[:, :3] == 0).all()
    assert (report.maps.gamma[:, 3:] == 1).all()


# Options


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("meta", 1, "binned.meta must be true or false, got 1"),
        ("warmup", 0.5, "binned.warmup must be a whole number, got 0.5"),
        ("warmup", -1, "binned.warmup must be at least 0, got -1"),
        ("tau", 0.5, "binned.tau must be above 0.5 and below 1, got 0.5"),
        ("tau", "high", "binned.tau must be a number or null, got 'high'"),
        ("boundary_ratio", 1.0, "binned.boundary_ratio must be above 0 and below 1"),
        ("temperature", 0.0, "binned.temperature must be above 0"),
        ("lambda_boundary", -0.1, "binned.lambda_boundary must be at least 0"),
        ("lambda_dice", float("nan"), "binned.lambda_dice must be at least 0, got nan"),
        (
            "min_runner_up_probability",
            0.6,
            "binned.min_runner_up_probability must be above 0 and at most 0.5, got 0.6",
        ),
        ("virtual_step", "exct", "did you mean 'exact'"),
        ("meta_every", 0, "binned.meta_every must be at least 1, got 0"),
        ("gold_momentum", 1.0, "binned.gold_momentum must be at least 0 and below 1"),
    ],
)
def test_bad_values_are_refused_by_name(option: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        Binned(**{option: value})


def test_options_are_values() -> None:
    method = Binned()
    assert copy.deepcopy(method) == method
    with pytest.raises(AttributeError):
        method.temperature = 1.0  # type: ignore[misc]


@pytest.mark.parametrize("option", ["temperature", "lambda_dice"])
def test_infinity_is_no_number(option: str) -> None:
    with pytest.raises(InputError, match=rf"binned\.{option} must be a number, got inf"):
        Binned(**{option: float("inf")})
