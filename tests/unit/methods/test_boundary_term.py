"""BoundaryTerm: the boundary's weights for one foreground and for every class, and what it remembers."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch
from tests.contract.tools import SIZE, batch
from torch import Tensor

from metadcseg.algorithm.running_centers import DynamicCenterDistance
from metadcseg.methods import boundary_term
from metadcseg.methods.boundary_term import BoundaryTerm
from metadcseg.networks import Output
from metadcseg.tensors import IGNORE, Batch


def _term(**changes: Any) -> BoundaryTerm:
    options: dict[str, Any] = {
        "regions": "foreground",
        "ratio": 0.2,
        "tau": None,
        "edge_threshold": 0.1,
        "temperature": 0.5,
        "detach": True,
    }
    return BoundaryTerm(**(options | changes))


def _output(classes: int, seed: int = 0, count: int = 2) -> Output:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(count, classes, SIZE, SIZE, generator=generator)
    return Output(logits, torch.randn(count, 5, SIZE, SIZE, generator=generator))


GAMMA = torch.ones(2, SIZE, SIZE)


@pytest.mark.parametrize("regions", ["foreground", "per_class"])
@pytest.mark.parametrize("tau", [None, 0.8])
def test_weights_are_a_distribution_over_each_image(regions: str, tau: float | None) -> None:
    weights = _term(regions=regions, tau=tau).weigh(_output(3), batch(0), GAMMA)
    assert weights.shape == (2, SIZE, SIZE)
    assert weights.min() >= 0
    torch.testing.assert_close(weights.sum(dim=(1, 2)), torch.ones(2))


def test_with_two_classes_both_readings_are_one() -> None:
    weights = [
        _term(regions=regions).weigh(_output(2), batch(0), GAMMA) for regions in ("foreground", "per_class")
    ]
    torch.testing.assert_close(weights[0], weights[1])


def test_a_class_without_boundary_takes_no_weight_from_the_others() -> None:
    output = _output(3)
    logits = output.logits.clone()
    logits[:, 2] = -50.0  # class 2 is certainly nowhere, so that tau gives it no boundary
    plain = replace(batch(0), edges=None)
    per_class = _term(regions="per_class", tau=0.8).weigh(Output(logits, output.features), plain, GAMMA)
    two = _term(tau=0.8).weigh(Output(logits[:, :2], output.features), plain, GAMMA)
    torch.testing.assert_close(per_class, two)
    assert per_class.sum() > 0


def test_no_boundary_gives_no_weight() -> None:
    logits = torch.full((2, 2, SIZE, SIZE), 50.0)
    logits[:, 1] = -50.0
    weights = _term(tau=0.8).weigh(Output(logits, _output(2).features), replace(batch(0), edges=None), GAMMA)
    assert torch.equal(weights, torch.zeros(2, SIZE, SIZE))


def test_edges_join_and_ignored_pixels_leave() -> None:
    noisy = batch(0)
    noisy.labels[:, :5] = IGNORE
    edges = torch.full(noisy.labels.shape, 0.09)  # below the threshold: no edge
    edges[:, 4:7, 2] = 0.1
    alone = _term(temperature=50.0).weigh(_output(2), replace(noisy, edges=None), GAMMA)
    joined = _term(temperature=50.0).weigh(_output(2), replace(noisy, edges=edges), GAMMA)
    assert (joined[:, 5:7, 2] > 0).all()
    assert (joined[:, :5] == 0).all()
    assert (alone[:, :5] == 0).all()
    assert not torch.equal(alone, joined)


@pytest.mark.parametrize(("threshold", "found"), [(0.05, 3), (0.5, 2), (0.51, 1), (1.0, 1)])
def test_the_threshold_decides_what_an_edge_is(threshold: float, found: int) -> None:
    edges = torch.zeros(2, SIZE, SIZE)
    edges[0, 3, 3:6] = torch.tensor([0.05, 0.5, 1.0])
    noisy = replace(batch(0), edges=edges)
    assert _term(edge_threshold=threshold).edges(noisy).sum() == found
    assert _term().edges(replace(noisy, edges=None)) is None


def test_an_image_without_edges_has_the_boundary_of_its_probabilities() -> None:
    noisy = replace(batch(0), edges=torch.zeros(2, SIZE, SIZE))
    none = replace(noisy, edges=None)
    assert torch.equal(*(_term().weigh(_output(2), one, GAMMA) for one in (noisy, none)))


@pytest.mark.parametrize("detach", [True, False])
def test_gradient_flows_through_the_weights_only_on_request(detach: bool) -> None:
    output = _output(2)
    features = output.features.requires_grad_()
    weights = _term(detach=detach).weigh(Output(output.logits, features), batch(0), GAMMA)
    assert weights.requires_grad is not detach
    if not detach:
        (weights * torch.arange(float(SIZE))).sum().backward()
        assert features.grad is not None
        assert features.grad.isfinite().all()
        assert features.grad.abs().sum() > 0


def test_default_centers_come_back_from_a_checkpoint() -> None:
    term = _term(regions="per_class")
    for seed in range(3):
        term.weigh(_output(3, seed), batch(seed), GAMMA)
    state = term.state_dict()
    assert sorted(state) == ["0", "1"]
    assert all(isinstance(value, Tensor) for part in state.values() for value in part.values())
    restored, fresh = _term(regions="per_class"), _term(regions="per_class")
    restored.load_state_dict(state)
    nobody = torch.zeros_like(GAMMA)  # no pixel is trusted: every region takes its default
    ours, theirs, new = (one.weigh(_output(3, 7), batch(7), nobody) for one in (term, restored, fresh))
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, new)


@pytest.fixture
def stand_ins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every region is too small for a center of its own and takes its default (eq. 47)."""
    monkeypatch.setattr(boundary_term, "DynamicCenterDistance", partial(DynamicCenterDistance, SIZE * SIZE))


@pytest.mark.usefixtures("stand_ins")
def test_pixels_under_ignore_have_no_say_in_a_stand_in_center() -> None:
    noisy: Batch = batch(0)
    noisy.labels[:, :5] = IGNORE
    weights = []
    for filler in (0.0, 9.0):
        output = _output(2)
        output.features[:, :, :5] = filler
        weights.append(_term().weigh(output, noisy, GAMMA))
    torch.testing.assert_close(weights[0], weights[1])
