"""MetaDCSeg: its switches switch, its shortcuts change nothing, and it learns whom to trust."""

import copy
from typing import Any

import pytest
import torch
from tests.contract.tools import SIZE, PlainUpdater, batch, storage, tiny_network
from torch import Tensor, nn

from metadcseg.algorithm.lookahead import gold_gradient, meta_gradients, pixel_gradients
from metadcseg.algorithm.meta_weights import initial_weights, pseudo_labels
from metadcseg.errors import InputError
from metadcseg.forward_mode.jvp import logit_change, trainable
from metadcseg.losses import pixel_cross_entropy, soft_dice_loss
from metadcseg.methods import MetaDCSeg, MethodState, StepReport, Supervised, create_method
from metadcseg.networks import TappedNetwork
from metadcseg.networks.contract import parameters_of
from metadcseg.tensors import IGNORE, Batch
from metadcseg.warp import Warp

PIXELWISE: dict[str, Any] = {
    "memory": "persistent",
    "pseudo_labels": "current",
    "gold_momentum": 0.0,
    "dice": "given",
    "cross_fit": False,
}
"""The readings that are nearest to the paper: a pair of weights for every pixel, moved by one gold batch."""


def pixelwise(**options: Any) -> MetaDCSeg:
    return MetaDCSeg(**{**PIXELWISE, **options})


def start(method: Any, network: nn.Module | None = None) -> MethodState:
    network = tiny_network() if network is None else network
    return method.start(network, PlainUpdater(network), torch.Generator().manual_seed(0), storage())


def run(method: Any, steps: int = 3) -> tuple[MethodState, list[StepReport]]:
    state = start(method)
    gold = method.info.needs_gold
    return state, [
        method.step(state, batch(number), batch(100 + number) if gold else None) for number in range(steps)
    ]


def same(left: nn.Module, right: nn.Module) -> bool:
    return all(
        torch.equal(one, other) for one, other in zip(left.parameters(), right.parameters(), strict=True)
    )


def own_frame(state: MethodState, indices: list[int]) -> Any:
    count = len(indices)
    plain = Batch(
        torch.zeros(count, 2, SIZE, SIZE),
        torch.zeros(count, SIZE, SIZE, dtype=torch.int64),
        torch.tensor(indices),
        Warp.identity(count),
    )
    return state.parts["weights"].read(plain, torch.zeros(()))


def resting(state: MethodState) -> bool:
    kept = own_frame(state, list(range(10)))
    return bool((kept.alpha == 1).all() and (kept.beta == 0).all())


# Switches


def test_without_dcd_is_lambda_boundary_zero_bit_for_bit() -> None:
    without, _ = run(MetaDCSeg(dcd=False))
    weightless, _ = run(MetaDCSeg(lambda_boundary=0.0))
    whole, _ = run(MetaDCSeg())
    assert same(without.network, weightless.network)
    assert not same(without.network, whole.network)


def test_without_meta_the_weights_rest() -> None:
    state, reports = run(pixelwise(meta=False))
    assert resting(state)
    for report in reports:
        assert report.maps is not None
        assert torch.equal(report.maps.alpha, torch.ones(2, SIZE, SIZE))
        assert torch.equal(report.maps.beta, torch.zeros(2, SIZE, SIZE))


@pytest.mark.parametrize(
    ("ablated", "plain"),
    [
        (MetaDCSeg(meta=False, dcd=False, lambda_dice=0.0), Supervised(gold="mixed", dice=0.0)),
        (MetaDCSeg(meta=False, dcd=False, clean_supervision=False, lambda_dice=0.3), Supervised(dice=0.3)),
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
    changed, _ = run(MetaDCSeg(**{option: value}))
    default, _ = run(MetaDCSeg())
    assert not same(changed.network, default.network)


def test_the_share_of_edges_is_reported_where_there_are_some() -> None:
    share = run(MetaDCSeg(edge_threshold=0.5))[1][0].scalars["edge_pixels"]
    assert share == pytest.approx(float((batch(0).edges > 0).float().mean()))
    assert 0 < share < 0.1
    assert run(MetaDCSeg(edge_threshold=0.6))[1][0].scalars["edge_pixels"] == 0
    assert "edge_pixels" not in run(MetaDCSeg(dcd=False))[1][0].scalars
    assert MetaDCSeg().info.uses_edges
    assert not MetaDCSeg(dcd=False).info.uses_edges


@pytest.mark.parametrize("threshold", [0, 1.01])
def test_an_edge_threshold_is_a_probability(threshold: float) -> None:
    with pytest.raises(InputError, match=r"metadcseg\.edge_threshold must be above 0 and at most 1, got"):
        MetaDCSeg(edge_threshold=threshold)


def test_scalars_add_up_to_the_loss() -> None:
    method = MetaDCSeg(lambda_boundary=0.4, lambda_dice=0.2)
    scalars = run(method)[1][-1].scalars
    total = scalars["pixel"] + 0.4 * scalars["boundary"] + 0.2 * scalars["dice"] + scalars["gold"]
    torch.testing.assert_close(scalars["loss"], total)
    assert scalars["boundary"] > 0
    assert 1 <= scalars["effective_boundary_pixels"] <= SIZE * SIZE


def test_weights_wait_for_the_end_of_the_warm_up() -> None:
    method = pixelwise(warmup=1, meta_every=1)
    state = start(method)
    first = method.step(state, batch(0), batch(100))
    assert resting(state)
    assert first.scalars["gold"] > 0
    assert first.scalars["beta"] == 0
    state.updater.epoch = 1
    moving = method.step(state, batch(1), batch(101))
    assert not resting(state)
    assert moving.scalars["beta"] > 0


# The meta step


@pytest.mark.parametrize("dice", ["given", "weighted"])
def test_shared_gold_gradient_is_the_gradient_of_the_gold_loss(dice: str) -> None:
    method = MetaDCSeg(dice=dice, cross_fit=False)  # type: ignore[arg-type]
    with_gold = start(method)
    method.step(with_gold, batch(0), batch(100))
    without = MetaDCSeg(dice=dice, cross_fit=False, clean_supervision=False)  # type: ignore[arg-type]
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


def test_exact_and_linearized_steps_agree_for_a_small_learning_rate() -> None:
    class Slow(PlainUpdater):
        lr = 1e-5

    maps = []
    for virtual_step in ("exact", "linearized"):
        method = pixelwise(virtual_step=virtual_step, eta=0.3, meta_every=1)
        network = tiny_network()
        state = method.start(network, Slow(network), torch.Generator(), storage())
        maps.append(method.step(state, batch(0), batch(100)).maps)
    torch.testing.assert_close(maps[0].alpha, maps[1].alpha, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(maps[0].beta, maps[1].beta, rtol=1e-3, atol=1e-3)
    assert maps[0].alpha.std() > 0.05


def test_the_training_uses_the_weights_of_this_very_step() -> None:
    """Both memories start from (1, 0), so their first step is the same, and their next visit is not."""
    first = [
        run(pixelwise(memory=memory, eta=0.3, meta_every=1), steps=1)[0] for memory in ("persistent", "none")
    ]
    later = [
        run(pixelwise(memory=memory, eta=0.3, meta_every=1), steps=3)[0] for memory in ("persistent", "none")
    ]
    resting, _ = run(pixelwise(meta=False), steps=1)
    assert same(first[0].network, first[1].network)
    assert not same(first[0].network, resting.network)
    assert not same(later[0].network, later[1].network)


def test_weights_travel_with_a_mirrored_image() -> None:
    """The first image of every batch is mirrored: what its step wrote must be read mirrored back."""
    method = pixelwise(eta=0.3)
    state = start(method)
    report = method.step(state, batch(0), batch(100))
    kept = own_frame(state, [0, 1])
    size = kept.gamma.mean(dim=(1, 2), keepdim=True)
    half = {"rtol": 2**-10, "atol": 2**-11}  # what half precision leaves
    torch.testing.assert_close((kept.alpha / size)[0].flip(1), report.maps.alpha[0], **half)
    torch.testing.assert_close((kept.alpha / size)[1], report.maps.alpha[1], **half)
    assert not torch.allclose((kept.alpha / size)[0], report.maps.alpha[0], **half)


def test_centers_are_weighted_before_normalization() -> None:
    method = pixelwise(eta=0.3)
    state = start(method)
    term = state.parts["boundary"]
    seen: list[Tensor] = []
    weigh = term.weigh

    def spy(output: Any, noisy: Batch, gamma: Tensor, *average: Any) -> Tensor:
        seen.append(gamma)
        return weigh(output, noisy, gamma, *average)

    term.weigh = spy
    report = method.step(state, batch(0), batch(100))
    torch.testing.assert_close(seen[0][1], own_frame(state, [1]).gamma[0], rtol=2**-10, atol=2**-11)
    assert not torch.allclose(seen[0], report.maps.gamma)


def test_ignored_pixels_have_no_weight() -> None:
    method = pixelwise(eta=0.3)
    noisy = batch(0)
    noisy.labels[:, :3] = IGNORE
    report = method.step(start(method), noisy, batch(100))
    assert (report.maps.gamma[:, :3] == 0).all()
    torch.testing.assert_close(report.maps.gamma[:, 3:].mean(dim=(1, 2)), torch.ones(2))


def test_between_two_meta_steps_the_weights_rest_and_are_used() -> None:
    method = pixelwise(meta_every=2, eta=0.5, dcd=False)
    state = start(method)
    reports, kept = [], []
    for _ in range(4):  # the same images every time
        reports.append(method.step(state, batch(0), batch(100)))
        kept.append(own_frame(state, [0, 1]).alpha)
    assert not resting(state)
    assert torch.equal(kept[0], kept[1])
    assert not torch.equal(kept[1], kept[2])
    assert torch.equal(kept[2], kept[3])
    one, other = (report.maps for report in reports[:2])
    assert one is not None
    assert other is not None
    assert not torch.equal(one.alpha, torch.ones_like(one.alpha))
    torch.testing.assert_close(one.alpha, other.alpha, rtol=2e-3, atol=2e-3)  # kept in half precision


def test_a_meta_step_now_and_then_needs_weights_that_last() -> None:
    with pytest.raises(InputError, match=r"metadcseg.meta_every 2 needs weights that last"):
        MetaDCSeg(meta_every=2, memory="none")


def test_tangents_of_a_part_need_a_network_that_tells_its_parts() -> None:
    network = TappedNetwork(nn.Sequential(nn.Conv2d(2, 3, 1)), "0")
    with pytest.raises(InputError, match=r"has an unknown encoder: name its parts in network.encoder"):
        start(MetaDCSeg(tangents="decoder"), network)
    start(MetaDCSeg(tangents="head"), network)
    with pytest.raises(InputError, match="does not tell which parameters its head has"):
        start(MetaDCSeg(tangents="head"), nn.Conv2d(2, 3, 1))


def test_tangents_of_a_part_are_that_part_of_the_derivative() -> None:
    found = {}
    for part in ("all", "decoder", "head"):
        method = pixelwise(tangents=part, meta_scaling="none", eta=1000.0, dcd=False)  # type: ignore[arg-type]
        state = start(method)
        network = copy.deepcopy(state.network)
        method.step(state, batch(0), batch(100))
        found[part] = own_frame(state, [0, 1]).beta
        _, v = gold_gradient(network, trainable(network), batch(100))
        counted = v.keys() if part == "all" else parameters_of(network, part)  # type: ignore[arg-type]
        direction = {name: value for name, value in v.items() if name in counted}
        change = logit_change(network, batch(0).images, direction)
        wanted = pixel_gradients(change, batch(0).labels, pseudo_labels(change.logits), 0.1).beta
        wanted = batch(0).warp.inverse().apply((-1000.0 * wanted).clamp(min=0).unsqueeze(1), "nearest")
        torch.testing.assert_close(found[part], wanted.squeeze(1), rtol=2e-3, atol=1e-6)
    assert not torch.equal(found["all"], found["decoder"])
    assert not torch.equal(found["decoder"], found["head"])


@pytest.mark.parametrize("virtual", ["exact", "linearized"])
def test_a_step_moves_its_weights_by_the_meta_gradients_that_double_backward_confirms(virtual: Any) -> None:
    method = pixelwise(virtual_step=virtual, meta_scaling="none", eta=1000.0, meta_every=1)
    state = start(method)
    network, noisy, gold = copy.deepcopy(state.network), batch(0), batch(100)
    method.step(state, noisy, gold)
    pseudo = pseudo_labels(network(noisy.images).logits)
    resting_weights = initial_weights((2, SIZE, SIZE))
    found = meta_gradients(network, noisy, gold, pseudo, resting_weights, lr=0.1, virtual=virtual).gradients
    kept = own_frame(state, [0, 1])
    for got, gradient, first in ((kept.alpha, found.alpha, 1.0), (kept.beta, found.beta, 0.0)):
        moved = (first - 1000.0 * gradient).clamp(min=0).unsqueeze(1)
        wanted = noisy.warp.inverse().apply(moved, "nearest").squeeze(1)
        torch.testing.assert_close(got, wanted, rtol=2e-3, atol=1e-3)


def test_a_running_mean_of_gold_gradients_carries_on() -> None:
    moved = []
    for momentum in (0.0, 0.9):
        state = start(method := pixelwise(gold_momentum=momentum, dcd=False))
        for number in range(3):
            method.step(state, batch(number), batch(100 + number))
        moved.append(own_frame(state, [0, 1]).alpha)
    assert not torch.equal(*moved)


def test_average_pseudo_labels_come_from_the_moving_average() -> None:
    method = pixelwise(pseudo_labels="ema", eta=0.3)
    images = []
    for constant in (0.0, 100.0):
        state = start(method)
        with torch.no_grad():
            state.updater.ema_model.module[-1].bias[2] += constant  # an average that sees class 2 everywhere
        images.append(method.step(state, batch(0), batch(100)).maps.beta)
    assert not torch.equal(images[0], images[1])


def test_average_pseudo_labels_need_an_average() -> None:
    made = start(MetaDCSeg())
    made.updater.ema_model = None
    with pytest.raises(InputError, match=r"switch it on with training\.ema_decay"):
        MetaDCSeg(pseudo_labels="ema").start(made.network, made.updater, made.generator, storage())


@pytest.mark.parametrize(
    "method",
    [pixelwise(eta=0.05), MetaDCSeg(meta_every=1, discount_symmetric_noise=False)],
    ids=["pixelwise", "shared"],
)
def test_it_learns_to_distrust_wrong_labels(method: MetaDCSeg) -> None:
    """Pixels are separable by their value; a fixed third of the training labels is flipped, gold is right."""
    generator = torch.Generator().manual_seed(1)
    truth = torch.zeros(4, SIZE, SIZE, dtype=torch.int64)
    truth[:, :, SIZE // 2 :] = 1
    images = (2.0 * truth - 1).unsqueeze(1) + 0.1 * torch.randn(4, 1, SIZE, SIZE, generator=generator)
    wrong = torch.rand(4, SIZE, SIZE, generator=generator) < 0.33
    noisy = Batch(images, torch.where(wrong, 1 - truth, truth), torch.arange(4), Warp.identity(4))
    gold = Batch(images.flip(2), truth, torch.arange(4), Warp.identity(4))
    assert set(noisy.labels.unique().tolist()) == {0, 1}

    torch.manual_seed(0)
    network = TappedNetwork(nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)), "2")
    state = start(method, network)
    for _ in range(30):
        report = method.step(state, noisy, gold)
    alpha, beta = report.maps.alpha, report.maps.beta
    assert alpha[wrong].mean() < 0.5 * alpha[~wrong].mean()
    assert beta[wrong].mean() > 0.1
    found = method.predict(state, images).argmax(dim=1)
    assert (found == truth).float().mean() > 0.99


# Options


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("eta", 0, "metadcseg.eta must be above 0, got 0"),
        ("eta", "1e-3", "metadcseg.eta must be a number, got '1e-3'"),
        ("meta", 1, "metadcseg.meta must be true or false, got 1"),
        ("warmup", 0.5, "metadcseg.warmup must be a whole number, got 0.5"),
        ("warmup", -1, "metadcseg.warmup must be at least 0, got -1"),
        ("tau", 0.5, "metadcseg.tau must be above 0.5 and below 1, got 0.5"),
        ("tau", "high", "metadcseg.tau must be a number or null, got 'high'"),
        ("boundary_ratio", 1.0, "metadcseg.boundary_ratio must be above 0 and below 1"),
        ("temperature", 0.0, "metadcseg.temperature must be above 0"),
        ("lambda_boundary", -0.1, "metadcseg.lambda_boundary must be at least 0"),
        ("lambda_dice", float("nan"), "metadcseg.lambda_dice must be at least 0, got nan"),
        ("min_region_pixels", 0, "metadcseg.min_region_pixels must be at least 1"),
        ("normalization", "imge", "unknown value of metadcseg.normalization 'imge': did you mean 'image'"),
        ("memory", "persistant", "did you mean 'persistent'"),
        (
            "min_runner_up_probability",
            0.6,
            "metadcseg.min_runner_up_probability must be above 0 and at most 0.5, got 0.6",
        ),
        ("virtual_step", "exct", "did you mean 'exact'"),
    ],
)
def test_bad_values_are_refused_by_name(option: str, value: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        MetaDCSeg(**{option: value})


def test_create_method_knows_names_and_options() -> None:
    assert create_method("metadcseg", eta=0.5) == MetaDCSeg(eta=0.5)
    with pytest.raises(InputError, match="unknown method 'metadcsg': did you mean 'metadcseg'"):
        create_method("metadcsg")
    with pytest.raises(InputError, match="unknown option of method 'metadcseg' 'lamda_dice': did you mean"):
        create_method("metadcseg", lamda_dice=0.1)


def test_options_are_values() -> None:
    method = MetaDCSeg()
    assert copy.deepcopy(method) == method
    with pytest.raises(AttributeError):
        method.eta = 1.0  # type: ignore[misc]


def test_without_meta_no_weights_have_to_last() -> None:
    assert MetaDCSeg(meta=False, memory="none").info.warmup == 0


@pytest.mark.parametrize("option", ["eta", "temperature", "lambda_dice"])
def test_infinity_is_no_number(option: str) -> None:
    with pytest.raises(InputError, match=rf"metadcseg\.{option} must be a number, got inf"):
        MetaDCSeg(**{option: float("inf")})
