"""The paper's method: its step is that of the equations, its switches switch, and it learns whom to trust."""

import copy
from typing import Any

import pytest
import torch
from tests.contract.tools import SIZE, batch
from tests.unit.methods.tools import assert_distrusts_wrong_labels, run, same, start
from torch import Tensor

from metadcseg.algorithm import lookahead
from metadcseg.algorithm.lookahead import meta_gradients
from metadcseg.algorithm.meta_weights import initial_weights, pseudo_labels
from metadcseg.errors import InputError
from metadcseg.methods import MetaDCSeg, MethodState, Supervised, create_method
from metadcseg.tensors import IGNORE, Batch
from metadcseg.warp import Warp


def ready(**options: Any) -> MetaDCSeg:
    """The method without warm-up, with steps that show."""
    return MetaDCSeg(**{"warmup": 0, "meta_scaling": "rms", "eta": 0.3, **options})


def own_grid(state: MethodState, indices: list[int]) -> Any:
    count = len(indices)
    plain = Batch(
        torch.zeros(count, 2, SIZE, SIZE),
        torch.zeros(count, SIZE, SIZE, dtype=torch.int64),
        torch.tensor(indices),
        Warp.identity(count),
    )
    return state.parts["weights"].read(plain)


def resting(state: MethodState) -> bool:
    kept = own_grid(state, list(range(10)))
    return bool((kept.alpha == 1).all() and (kept.beta == 0).all())


# The step


def test_a_step_moves_its_weights_by_the_meta_gradients_that_double_backward_confirms() -> None:
    method = ready(meta_scaling="none", eta=1000.0)
    state = start(method)
    network, noisy, gold = copy.deepcopy(state.network), batch(0), batch(100)
    method.step(state, noisy, gold)
    pseudo = pseudo_labels(network(noisy.images).logits)
    found = meta_gradients(network, noisy, gold, pseudo, initial_weights((2, SIZE, SIZE)), lr=0.1)
    kept = own_grid(state, [0, 1])
    for got, gradient, first in ((kept.alpha, found.alpha, 1.0), (kept.beta, found.beta, 0.0)):
        moved = (first - 1000.0 * gradient).clamp(min=0).unsqueeze(1)
        wanted = noisy.warp.inverse().apply(moved, "nearest").squeeze(1)
        torch.testing.assert_close(got, wanted, rtol=2e-3, atol=1e-3)


def test_the_second_visit_steps_ahead_with_the_weights_that_the_first_has_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    used: list[Tensor] = []
    loss = lookahead.weighted_pixel_loss

    def spy(logits: Tensor, labels: Tensor, pseudo: Tensor, weights: Any) -> Tensor:
        used.append(weights.alpha)
        return loss(logits, labels, pseudo, weights)

    monkeypatch.setattr(lookahead, "weighted_pixel_loss", spy)
    method = ready()
    state = start(method)
    for _ in range(2):
        kept = state.parts["weights"].read(batch(0))
        method.step(state, batch(0), batch(100))
        assert torch.equal(used[-1], kept.alpha)
    assert torch.equal(used[0], torch.ones_like(used[0]))
    assert not torch.equal(used[1], used[0])


def test_the_training_uses_the_weights_of_this_very_step() -> None:
    moving, _ = run(ready(), steps=1)
    still, _ = run(ready(meta=False), steps=1)
    assert not same(moving.network, still.network)


def test_weights_travel_with_a_mirrored_image() -> None:
    """The first image of every batch is mirrored: what its step wrote must be read mirrored back."""
    method = ready()
    state = start(method)
    report = method.step(state, batch(0), batch(100))
    assert report.maps is not None
    kept = own_grid(state, [0, 1])
    size = kept.gamma.mean(dim=(1, 2), keepdim=True)
    half = {"rtol": 2**-10, "atol": 2**-11}  # what half precision leaves
    torch.testing.assert_close((kept.alpha / size)[0].flip(1), report.maps.alpha[0], **half)
    torch.testing.assert_close((kept.alpha / size)[1], report.maps.alpha[1], **half)
    assert not torch.allclose((kept.alpha / size)[0], report.maps.alpha[0], **half)


def test_centers_are_weighted_before_normalization() -> None:
    method = ready()
    state = start(method)
    seen: list[Tensor] = []
    state.parts["boundary"].register_forward_pre_hook(lambda _module, given: seen.append(given[2]))  # gamma
    report = method.step(state, batch(0), batch(100))
    assert report.maps is not None
    torch.testing.assert_close(seen[0][1], own_grid(state, [1]).gamma[0], rtol=2**-10, atol=2**-11)
    assert not torch.allclose(seen[0], report.maps.gamma)


def test_ignored_pixels_have_no_weight() -> None:
    method = ready()
    noisy = batch(0)
    noisy.labels[:, :3] = IGNORE
    report = method.step(start(method), noisy, batch(100))
    assert report.maps is not None
    assert (report.maps.gamma[:, :3] == 0).all()
    torch.testing.assert_close(report.maps.gamma[:, 3:].mean(dim=(1, 2)), torch.ones(2))


def test_weights_wait_for_the_end_of_the_warm_up() -> None:
    method = ready(warmup=1)
    state = start(method)
    first = method.step(state, batch(0), batch(100))
    assert resting(state)
    assert first.scalars["beta"] == 0
    state.updater.epoch = 1
    moving = method.step(state, batch(1), batch(101))
    assert not resting(state)
    assert moving.scalars["beta"] > 0


@pytest.mark.parametrize("scaling", ["rms", "none"])
def test_it_learns_to_distrust_wrong_labels(scaling: str) -> None:
    eta = {"rms": 0.05, "none": 2e3}[scaling]
    assert_distrusts_wrong_labels(ready(meta_scaling=scaling, eta=eta, detach_boundary_weights=True))


def test_scalars_add_up_to_the_loss() -> None:
    method = ready(lambda_boundary=0.4, lambda_dice=0.2, clean_supervision=True)
    scalars = run(method)[1][-1].scalars
    total = scalars["pixel"] + 0.4 * scalars["boundary"] + 0.2 * scalars["dice"] + scalars["gold"]
    torch.testing.assert_close(scalars["loss"], total)
    assert scalars["boundary"] > 0
    assert 1 <= scalars["effective_boundary_pixels"] <= SIZE * SIZE


# Switches


def test_without_meta_the_weights_rest() -> None:
    state, reports = run(ready(meta=False))
    assert resting(state)
    assert MetaDCSeg(meta=False).info.warmup == 0
    for report in reports:
        assert report.maps is not None
        assert torch.equal(report.maps.alpha, torch.ones(2, SIZE, SIZE))
        assert torch.equal(report.maps.beta, torch.zeros(2, SIZE, SIZE))


def test_without_dcd_is_lambda_boundary_zero_bit_for_bit() -> None:
    without, reports = run(ready(dcd=False))
    weightless, _ = run(ready(lambda_boundary=0.0))
    whole, _ = run(ready())
    assert same(without.network, weightless.network)
    assert not same(without.network, whole.network)
    assert "edge_pixels" not in reports[0].scalars


@pytest.mark.parametrize(
    ("ablated", "plain"),
    [
        ({"lambda_dice": 0.3}, Supervised(dice=0.3)),
        ({"lambda_dice": 0.0, "clean_supervision": True}, Supervised(gold="mixed", dice=0.0)),
    ],
)
def test_with_everything_off_it_is_plain_supervision_bit_for_bit(
    ablated: dict[str, Any], plain: Supervised
) -> None:
    ours, our_reports = run(MetaDCSeg(meta=False, dcd=False, **ablated))
    theirs, their_reports = run(plain)
    assert same(ours.network, theirs.network)
    assert torch.equal(our_reports[-1].scalars["loss"], their_reports[-1].scalars["loss"])


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("eta", 0.1),
        ("meta_scaling", "none"),
        ("normalization", "complementary"),
        ("clean_supervision", True),
        ("regions", "per_class"),
        ("boundary_ratio", 0.3),
        ("tau", 0.9),
        ("edge_threshold", 0.6),
        ("temperature", 5.0),
        ("detach_boundary_weights", True),
        ("lambda_boundary", 1.0),
        ("lambda_dice", 0.0),
    ],
)
def test_option_changes_the_training(option: str, value: Any) -> None:
    changed, _ = run(ready(**{option: value}))
    default, _ = run(ready())
    assert not same(changed.network, default.network)


# Options


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("eta", 0, "metadcseg.eta must be above 0, got 0"),
        ("eta", "1e-3", "metadcseg.eta must be a number, got '1e-3'"),
        ("normalization", "imge", "unknown value of metadcseg.normalization 'imge': did you mean 'image'"),
        ("meta_scaling", "rmse", "unknown value of metadcseg.meta_scaling 'rmse': did you mean 'rms'"),
        ("warmup", -1, "metadcseg.warmup must be at least 0, got -1"),
        ("edge_threshold", 1.01, "metadcseg.edge_threshold must be above 0 and at most 1, got"),
        ("temperature", float("inf"), "metadcseg.temperature must be a number, got inf"),
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
