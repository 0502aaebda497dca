"""What every registered method promises (metadcseg.methods.base), tried with its main options."""

import copy
import io
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.contract.tools import (
    CLASSES,
    SIZE,
    PlainUpdater,
    batch,
    gold_batch,
    gold_volume_batch,
    network_of,
    storage,
    volume_batch,
)
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from metadcseg.data import PreparedSet, SetWriter
from metadcseg.errors import InputError
from metadcseg.methods import METHODS, MethodState, StepReport, Storage, create_method
from metadcseg.methods.metadcseg.pixel_weights import PixelWeights
from metadcseg.networks import NetworkOptions, create_network
from metadcseg.tensors import IGNORE, Batch
from metadcseg.training.options import TrainingOptions
from metadcseg.training.setup import open_datasets

VARIANTS: list[tuple[str, dict[str, Any]]] = [
    ("supervised", {}),
    ("supervised", {"gold": "mixed"}),
    ("supervised", {"labels": "clean", "dice": 0.0}),
    ("l2b", {}),
    ("l2b", {"clean_supervision": False}),
    ("l2b", {"views": False}),
    ("metadcseg", {"warmup": 0}),
    ("metadcseg", {"warmup": 1, "meta_scaling": "rms"}),
    ("metadcseg", {"warmup": 0, "meta_scaling": "sums"}),
    ("metadcseg", {"warmup": 0, "normalization": "complementary", "meta_scaling": "rms"}),
    ("metadcseg", {"warmup": 0, "clean_supervision": True}),
    ("metadcseg", {"warmup": 0, "regions": "per_class"}),
    ("metadcseg", {"warmup": 0, "detach_boundary_weights": True}),
    ("metadcseg", {"warmup": 0, "lambda_dice": 0.0, "dcd": False}),
    ("metadcseg", {"meta": False}),
    ("binned", {}),
    ("binned", {"virtual_step": "exact"}),
    ("binned", {"pseudo_labels": "current", "min_runner_up_probability": 0.5}),
    ("binned", {"meta_every": 3, "virtual_step": "exact"}),
    ("binned", {"lambda_dice": 0.0, "dcd": False}),
    ("binned", {"meta": False, "clean_supervision": False}),
    ("calibrated", {}),
    ("calibrated", {"warmup": 0}),
    ("calibrated", {"warmup": 0, "witness": "ema"}),
    ("calibrated", {"warmup": 0, "match_shares": False}),
    ("calibrated", {"warmup": 0, "shrink_directions": False}),
    ("calibrated", {"witness": "none", "regions": "per_class"}),
    ("calibrated", {"lambda_dice": 0.0, "dcd": False}),
    ("calibrated", {"pairs": False}),
    ("calibrated", {"pairs": False, "stand_in": 2, "warmup": 0}),
    ("calibrated", {"pairs": False, "stand_in": 0, "warmup": 0, "meta": True, "meta_every": 1}),
    ("calibrated", {"warmup": 0, "meta": True}),
    ("calibrated", {"pairs": False, "stand_in": 0}),
    ("pairs", {}),
    ("pairs", {"dice": 0.0}),
    ("robust", {"warmup": 0}),
    ("robust", {"loss": "nr-dice", "gold": "mixed", "warmup": 1}),
    ("adele", {}),
    ("meta_weight_net", {"clean_supervision": True, "eta": 0.1}),
    ("coteaching", {"gold": "mixed", "ramp": 2, "ranks": "batch"}),
    ("coteaching", {"gold": "mixed", "ramp": 2, "pairs": True}),
    ("trinet", {"ramp": 0, "select_ratio": 0.6}),
    ("hamil", {}),
    ("hamil", {"gold": "mixed", "dice": 0.0}),
    ("hamil", {"gold": "finetune", "warmup": 1}),
    ("madgnet", {}),
    ("madgnet", {"gold": "mixed"}),
    ("condseg", {"warmup": 1}),
    ("condseg", {"warmup": 2, "gold": "mixed", "dice": 0.5}),
    ("glc", {}),
    ("glc", {"by_distance": True}),
    ("glc", {"matrix": "network", "warmup": 1}),
    ("maxformer", {}),
    ("maxformer", {"gold": "mixed"}),
]
every_variant = pytest.mark.parametrize(
    ("name", "options"), VARIANTS, ids=[f"{name}-{'-'.join(map(str, options))}" for name, options in VARIANTS]
)


def start(
    name: str, options: dict[str, Any], network: nn.Module, kept: Storage | None = None
) -> tuple[Any, MethodState]:
    method = create_method(name, **options)
    generator = torch.Generator().manual_seed(5)
    return method, method.start(network, PlainUpdater(network), generator, kept or storage())


def run(method: Any, state: MethodState, steps: range) -> list[StepReport]:
    reports = []
    for number in steps:
        state.updater.epoch = number // 2
        gold = gold_batch(100 + number) if method.info.needs_gold else None
        reports.append(method.step(state, batch(number, first=2 * (number % 2)), gold))
    return reports


def same(left: nn.Module, right: nn.Module) -> bool:
    pairs = zip(left.state_dict().values(), right.state_dict().values(), strict=True)
    return all(torch.equal(one, other) for one, other in pairs)


def test_every_registered_method_is_tried() -> None:
    assert {name for name, _ in VARIANTS} == set(METHODS)


@every_variant
def test_a_step_trains_and_reports_detached_scalars(name: str, options: dict[str, Any]) -> None:
    network = network_of(name, options)
    method, state = start(name, options, network)
    for report in run(method, state, range(3)):
        for key, value in report.scalars.items():
            assert value.shape == (), key
            assert not value.requires_grad, key
            assert value.isfinite(), key
        if report.maps is not None:
            assert report.maps.alpha.shape == (2, SIZE, SIZE)
            assert not report.maps.alpha.requires_grad
    assert not same(network, network_of(name, options))
    assert all(parameter.grad is None for parameter in network.parameters())


@every_variant
def test_weights_are_there_where_they_are_declared(name: str, options: dict[str, Any]) -> None:
    method, state = start(name, options, network_of(name, options))
    run(method, state, range(1))
    assert (method.weights(state, batch(0)) is not None) == method.info.keeps_weights


@every_variant
def test_volumes_are_trained_on_in_patches(name: str, options: dict[str, Any]) -> None:
    network, kept = network_of(name, options, axes=3), storage(axes=3)
    method, state = start(name, options, network, kept)
    for number in range(3):
        state.updater.epoch = number // 2
        gold = gold_volume_batch(100 + number) if method.info.needs_gold else None
        report = method.step(state, volume_batch(number), gold)
        assert all(value.isfinite() for value in report.scalars.values())
        if report.maps is not None:
            assert report.maps.alpha.shape == (2, SIZE // 2, SIZE, SIZE)
    assert not same(network, network_of(name, options, axes=3))
    assert method.predict(state, volume_batch(9).images).shape == (2, CLASSES, SIZE // 2, SIZE, SIZE)
    maps = state.parts.get("weights")
    if isinstance(maps, PixelWeights) and options.get("meta", True):
        moved = (kept.open("alpha").read([0])[0] != 0).flatten(1).any(dim=1)
        assert moved.tolist() == [False] * 6 + [True] * 8 + [False] * 2


@every_variant
def test_full_trust_changes_no_bit(name: str, options: dict[str, Any]) -> None:
    twins = [network_of(name, options), network_of(name, options)]
    for network, trusted in zip(twins, (False, True), strict=True):
        method, state = start(name, options, network)
        for number in range(3):
            state.updater.epoch = number // 2
            gold = gold_batch(100 + number) if method.info.needs_gold else None
            noisy = batch(number)
            label_confidence = torch.ones(noisy.labels.shape) if trusted else None
            method.step(state, replace(noisy, label_confidence=label_confidence), gold)
    assert same(*twins)


@every_variant
def test_a_label_without_trust_changes_nothing(name: str, options: dict[str, Any]) -> None:
    if options == {"labels": "clean", "dice": 0.0}:
        pytest.skip("the upper bound trains on references, whose trust nobody asks for")
    twins = [network_of(name, options), network_of(name, options)]
    other = network_of(name, options)
    for network, value, label_confidence in zip((*twins, other), (0, 2, 2), (0.0, 0.0, 1.0), strict=True):
        method, state = start(name, options, network)
        for number in range(2):
            gold = gold_batch(100 + number) if method.info.needs_gold else None
            noisy = batch(number)
            labels, known = noisy.labels.clone(), torch.ones(noisy.labels.shape)
            known[:, 4:12, 4:12] = (
                label_confidence  # views shift labels by a few pixels: only the middle changes
            )
            labels[:, 7:9, 7:9] = value
            method.step(state, replace(noisy, labels=labels, label_confidence=known), gold)
    assert same(*twins)
    assert not same(twins[0], other)


@every_variant
def test_same_seed_gives_same_bits(name: str, options: dict[str, Any]) -> None:
    twins = [network_of(name, options), network_of(name, options)]
    reports = []
    for network in twins:
        torch.rand(7)  # the global random state must not matter
        method, state = start(name, options, network)
        reports.append(run(method, state, range(3))[-1])
    assert same(*twins)
    assert all(torch.equal(value, reports[1].scalars[key]) for key, value in reports[0].scalars.items())


@pytest.mark.parametrize(
    ("name", "options"),
    [("binned", {}), ("binned", {"virtual_step": "exact"}), ("metadcseg", {"warmup": 0})],
    ids=["binned", "binned-exact", "metadcseg"],
)
def test_same_bits_on_unetplusplus(name: str, options: dict[str, Any]) -> None:
    seeds = (torch.Generator().manual_seed(3) for _ in range(2))
    twins = [create_network(NetworkOptions(width=2), 2, CLASSES, seed) for seed in seeds]
    for network in twins:
        method, state = start(name, options, network, storage(size=32))
        for number in range(2):
            report = method.step(state, batch(number, size=32), gold_batch(100 + number, size=32))
            assert report.scalars["loss"].isfinite()
    assert same(*twins)


@every_variant
def test_saved_and_restored_mid_run_continues_identically(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    network, kept = network_of(name, options), storage(folder=tmp_path)
    method, state = start(name, options, network, kept)
    run(method, state, range(3))
    file = io.BytesIO()
    updater = state.updater
    torch.save(
        {
            "method": state.state_dict(),
            "storage": kept.state_dict(),
            "network": network.state_dict(),
            "ema_model": updater.ema_model.state_dict(),
            "optimiser": updater.optimizer.state_dict(),
            "steps": updater.steps,
        },
        file,
    )
    run(method, state, range(3, 6))

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    other = network_of(name, options, seed=9)
    other.load_state_dict(saved["network"])
    again = storage(folder=tmp_path)
    _, resumed = start(name, options, other, again)
    again.load_state_dict(saved["storage"])
    resumed.updater.ema_model.load_state_dict(saved["ema_model"])
    resumed.updater.optimizer.load_state_dict(saved["optimiser"])
    resumed.load_state_dict(saved["method"], CLASSES)
    resumed.updater.steps = saved["steps"]
    run(method, resumed, range(3, 6))
    assert same(network, other)
    assert state.generator.get_state().equal(resumed.generator.get_state())


class Forbidden:
    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"a method that declares no gold has looked at gold.{name}")


@every_variant
def test_gold_is_read_only_where_it_is_declared(name: str, options: dict[str, Any]) -> None:
    networks = []
    for gold in (Forbidden(), None):
        network = network_of(name, options)
        method, state = start(name, options, network)
        if method.info.needs_gold:
            with pytest.raises(InputError if gold is None else AssertionError, match="gold"):
                run_with(method, state, gold)
            return
        run_with(method, state, gold)
        networks.append(network)
    assert same(*networks)


def run_with(method: Any, state: MethodState, gold: Any) -> None:
    for number in range(3):
        state.updater.epoch = number + method.info.warmup
        method.step(state, batch(number), gold)


@every_variant
def test_an_ignored_pixel_changes_nothing(name: str, options: dict[str, Any]) -> None:
    """In a network in which no pixel sees another, whatever lies under an ignored label is without effect."""
    networks = []
    for filler in (0.0, 30.0):
        network = network_of(name, options, kernel=1)
        method, state = start(name, options, network)
        for number in range(3):
            batches = [batch(number), gold_batch(100 + number)]
            for one in batches:
                one.labels[:, :4, 5:9] = IGNORE
                one.images[:, :, :4, 5:9] = filler
                one.edges[:, :4, 5:9] = float(filler > 0)
            method.step(state, batches[0], batches[1] if method.info.needs_gold else None)
        networks.append(network)
    for one, other in zip(networks[0].parameters(), networks[1].parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-7)


@every_variant
def test_edges_may_be_missing_and_count_only_where_that_is_declared(
    name: str, options: dict[str, Any]
) -> None:
    networks = []
    for kept in (True, False):
        network = network_of(name, options)
        method, state = start(name, options, network)
        for number in range(3):
            noisy = batch(number) if kept else replace(batch(number), edges=None)
            method.step(state, noisy, gold_batch(100 + number) if method.info.needs_gold else None)
        networks.append(network)
    assert method.info.uses_edges or same(*networks)


@every_variant
def test_pairs_count_only_where_that_is_declared(name: str, options: dict[str, Any]) -> None:
    """A loop never shows them to others; where one did, not a bit would change."""
    networks = []
    for kept in (True, False):
        network = network_of(name, options)
        method, state = start(name, options, network)
        for number in range(3):
            gold = batch(100 + number)
            given = gold.labels.roll(3, dims=2) if kept else None
            method.step(state, batch(number), replace(gold, given=given) if method.info.needs_gold else None)
        networks.append(network)
    assert method.info.uses_pairs or same(*networks)


@every_variant
def test_training_shows_pairs_to_methods_that_declare_them_and_to_no_other(
    name: str, options: dict[str, Any], tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    with SetWriter(tmp_path / "set", name="pairs", classes=("background", "organ"), channels=1) as writer:
        for number, role in enumerate(("train", "gold")):
            image, label = rng.integers(0, 255, (9, 9, 1)).astype(np.uint8), np.eye(9, dtype=np.uint8)
            given = np.ones_like(label) if role == "gold" else None
            writer.add(
                id=str(number), role=role, group="", image=image, label=label, truth=label, given=given
            )
    method = create_method(name, **options)
    training = TrainingOptions(size=16)
    datasets = open_datasets(PreparedSet.open(tmp_path / "set"), method, NetworkOptions(), training, seed=0)
    assert datasets.train.sample(0, 0).given is None
    if datasets.gold is not None:
        assert (datasets.gold.sample(0, 0).given is not None) == method.info.uses_pairs


@every_variant
@pytest.mark.parametrize("label", [0, IGNORE])
def test_a_batch_without_foreground_gives_a_finite_loss(
    name: str, options: dict[str, Any], label: int
) -> None:
    network = network_of(name, options)
    method, state = start(name, options, network)
    for number in range(2):
        noisy = batch(number)
        noisy.labels.fill_(label)
        report = method.step(state, noisy, gold_batch(100) if method.info.needs_gold else None)
        assert report.scalars["loss"].isfinite()
    assert all(parameter.isfinite().all() for parameter in network.parameters())


@every_variant
def test_a_batch_of_one_works(name: str, options: dict[str, Any]) -> None:
    network = network_of(name, options)
    method, state = start(name, options, network)
    gold = gold_batch(100, count=1) if method.info.needs_gold else None
    assert method.step(state, batch(0, count=1), gold).scalars["loss"].isfinite()
    assert method.predict(state, batch(0, count=1).images).shape == (1, CLASSES, SIZE, SIZE)


def world() -> list[Any]:
    numpy_state = np.random.get_state()  # noqa: NPY002
    return [
        torch.get_rng_state().tolist(),
        numpy_state[1].tolist(),
        random.getstate(),
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.are_deterministic_algorithms_enabled(),
    ]


@every_variant
def test_nobody_elses_state_moves(name: str, options: dict[str, Any]) -> None:
    network = network_of(name, options, depth=2)
    method, state = start(name, options, network)
    next(part for part in network.modules() if isinstance(part, nn.ReLU)).eval()  # its owner has frozen it
    modes = [part.training for part in network.modules()]
    averaged_modes = [part.training for part in state.updater.ema_model.modules()]
    before = world()
    run(method, state, range(2))
    with torch.no_grad():
        run_without_grad = method.predict(state, batch(0).images)
    probabilities = method.predict(state, batch(0).images)
    assert world() == before
    assert [part.training for part in network.modules()] == modes
    assert [part.training for part in state.updater.ema_model.modules()] == averaged_modes
    assert torch.equal(probabilities, run_without_grad)


@every_variant
def test_predict_returns_probabilities_and_leaves_everything(name: str, options: dict[str, Any]) -> None:
    network, maps = network_of(name, options), storage()
    method, state = start(name, options, network, maps)
    run(method, state, range(1))
    weights, kept = copy.deepcopy(network), copy.deepcopy([state.state_dict(), maps.state_dict()])
    probabilities = method.predict(state, batch(1).images)
    assert probabilities.shape == (2, CLASSES, SIZE, SIZE)
    assert not probabilities.requires_grad
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(2, SIZE, SIZE))
    assert same(network, weights)
    assert str(kept) == str([state.state_dict(), maps.state_dict()])
    assert all(parameter.grad is None for parameter in network.parameters())


def flops(network: nn.Module, method: Any, state: MethodState, noisy: Batch, gold: Batch | None) -> float:
    with FlopCounterMode(display=False) as forward:
        network(noisy.images)
    period = getattr(method, "meta_every", 1)  # a meta step and the steps that rest
    with FlopCounterMode(display=False) as steps:
        for _ in range(period):
            method.step(state, noisy, gold)
    return steps.get_total_flops() / forward.get_total_flops() / period


@every_variant
def test_declared_passes_are_the_work_done(name: str, options: dict[str, Any]) -> None:
    network = network_of(name, options, depth=8)
    method, state = start(name, options, network)
    state.updater.epoch = 11  # after any warm-up, and the turn of a gold image that is there
    gold = gold_batch(100) if method.info.needs_gold else None
    measured = flops(network, method, state, batch(0), gold)
    assert measured == pytest.approx(method.info.passes_each, rel=0.1)


@every_variant
def test_declaration_and_options_agree(name: str, options: dict[str, Any]) -> None:
    declaration = create_method(name, **options).info
    assert declaration.needs_gold or not declaration.supervises_gold
    assert declaration.networks == {"coteaching": 2, "trinet": 3, "hamil": 3}.get(name, 1)
    assert declaration.labels == ("truth" if options.get("labels") == "clean" else "given")
