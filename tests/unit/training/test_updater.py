import copy

import pytest
import torch
from lightning_fabric import Fabric
from tests.unit.training.helpers import TinyNetwork, options
from torch import nn

from metadcseg.training.updater import SgdUpdater, lr_factor


def make(network, **changed):
    return SgdUpdater(
        network, options(**{"ema_decay": 0.0, "clip": 0.0, **changed}), Fabric(accelerator="cpu")
    )


def test_schedule_against_a_table_made_by_hand():
    # 20 / (epoch + 20), times 1/4, 2/4, 3/4, 1, 1, ...
    table = {
        0: 0.25,
        1: 0.5 * 20 / 21,
        2: 0.75 * 20 / 22,
        3: 20 / 23,
        4: 20 / 24,
        20: 0.5,
        60: 0.25,
        180: 0.1,
    }
    for epoch, factor in table.items():
        assert lr_factor(epoch, epochs=200, warmup=4, decay=20.0) == pytest.approx(factor, rel=1e-12)


def test_warmup_is_cut_to_the_epochs_planned_and_can_be_off():
    assert lr_factor(1, epochs=2, warmup=10, decay=20.0) == pytest.approx(20 / 21)
    assert lr_factor(0, epochs=2, warmup=10, decay=20.0) == pytest.approx(0.5)
    assert lr_factor(0, epochs=9, warmup=0, decay=20.0) == 1.0


def test_the_optimizer_uses_the_rate_of_the_epoch():
    network = nn.Linear(1, 1, bias=False)
    updater = make(network, lr=0.5, warmup=0, decay=10.0, momentum=0.0, weight_decay=0.0)
    updater.begin_epoch(10)  # factor one half
    before = network.weight.item()
    updater.backward(network(torch.ones(1, 1)).sum())
    updater.step()
    assert updater.lr == pytest.approx(0.25)
    assert before - network.weight.item() == pytest.approx(0.25)
    assert network.weight.grad is None


def test_momentum_and_weight_decay_by_hand():
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(2.0)
    updater = make(network, lr=0.1, warmup=0, momentum=0.9, weight_decay=0.5)
    weight, speed = 2.0, 0.0
    for _ in range(3):
        updater.backward(network(torch.ones(1, 1)).sum())
        updater.step()
        speed = 0.9 * speed + (1.0 + 0.5 * weight)
        weight -= 0.1 * speed
    assert network.weight.item() == pytest.approx(weight, rel=1e-5)


@pytest.mark.parametrize(("clip", "length"), [(0.2, 0.2), (100.0, 5.0), (0.0, 5.0)])
def test_clip_is_by_the_norm_of_the_whole_gradient(clip, length):
    network = nn.Linear(2, 1, bias=False)
    updater = make(network, lr=1.0, warmup=0, momentum=0.0, weight_decay=0.0, clip=clip)
    before = network.weight.detach().clone()
    updater.backward(network(torch.tensor([[3.0, 4.0]])).sum())
    updater.step()
    moved = before - network.weight.detach()
    assert moved.norm().item() == pytest.approx(length, rel=1e-4)
    assert (moved[0, 1] / moved[0, 0]).item() == pytest.approx(4 / 3, rel=1e-4)


def test_moving_average_by_hand_starts_without_bias():
    network = nn.Linear(1, 1, bias=False)
    updater = make(network, lr=0.5, warmup=0, ema_decay=0.4)
    mean = network.weight.item()
    for taken in range(1, 8):
        updater.backward(network(torch.ones(1, 1)).sum())
        updater.step()
        decay = min(0.4, (1 + taken) / (10 + taken))
        mean = decay * mean + (1 - decay) * network.weight.item()
        assert updater.ema_model.weight.item() == pytest.approx(mean, rel=1e-5)
    assert decay == 0.4  # both branches were reached


def test_buffers_are_copied_and_the_average_is_in_evaluation_mode():
    network = TinyNetwork()
    updater = make(network, ema_decay=0.9)
    updater.backward(network(torch.randn(2, 1, 8, 8)).sum())
    updater.step()
    assert not updater.ema_model.training
    assert not any(p.requires_grad for p in updater.ema_model.parameters())
    for kept, buffer in zip(updater.ema_model.buffers(), network.buffers(), strict=True):
        assert torch.equal(kept, buffer)


def test_averaging_can_be_off():
    assert make(TinyNetwork(), ema_decay=0.0).ema_model is None


def test_state_goes_on_as_if_nothing_happened():
    torch.manual_seed(0)
    network, images = TinyNetwork().eval(), torch.randn(3, 1, 8, 8)
    updater = make(network, ema_decay=0.9, clip=0.5)
    updater.begin_epoch(1)

    def steps(who, of, count):
        for _ in range(count):
            who.backward(of(images).square().sum())
            who.step()

    steps(updater, network, 2)
    other = TinyNetwork().eval()
    restored = make(other, ema_decay=0.9, clip=0.5)
    other.load_state_dict(copy.deepcopy(network.state_dict()))
    restored.load_state_dict(copy.deepcopy(updater.state_dict()))
    restored.begin_epoch(1)
    steps(updater, network, 2)
    steps(restored, other, 2)
    for one, two in ((network, other), (updater.ema_model, restored.ema_model)):
        for name, value in one.state_dict().items():
            assert torch.equal(value, two.state_dict()[name])


@pytest.mark.parametrize("change", [{"maximize": True}, {"dampening": torch.zeros(2)}, {"momentum": {}}])
def test_how_to_descend_is_not_read_from_a_state(change):
    """The options of the run say it; a foreign checkpoint may hold anything there."""
    weights = []
    for foreign in ({}, change):
        network = nn.Linear(1, 1, bias=False)
        nn.init.ones_(network.weight)
        updater = make(network, warmup=0)
        saved = updater.state_dict()
        saved["optimiser"]["param_groups"][0].update(foreign)
        updater.load_state_dict(saved)
        for _ in range(2):
            updater.backward(network(torch.ones(1, 1)).sum())
            updater.step()
        weights.append(network.weight.item())
    assert weights[0] == weights[1] < 1


@pytest.mark.parametrize("momentum", [torch.tensor(0.5), torch.zeros(2, 1), torch.zeros(1)])
def test_momentum_of_another_shape_is_refused(momentum):
    """A scalar, too, which the next step could not add to."""
    network = nn.Linear(1, 1, bias=False)
    updater = make(network, warmup=0)
    updater.backward(network(torch.ones(1, 1)).sum())
    updater.step()
    saved = updater.state_dict()
    updater.load_state_dict(saved)
    saved["optimiser"]["state"][0]["momentum_buffer"] = momentum
    with pytest.raises(ValueError, match="other shapes"):
        updater.load_state_dict(saved)


def test_what_begins_anew_goes_on_as_at_its_start():
    """Momentum is gone, and the average follows closely again; a state that was saved in between knows it."""
    network = nn.Linear(1, 1, bias=False)
    first = copy.deepcopy(network.state_dict())
    updater = make(network, ema_decay=0.9, lr=0.5, warmup=0, momentum=0.9, weight_decay=0.0)

    def steps(one, count):
        for _ in range(count):
            one.backward((network(torch.ones(1, 1)) ** 2).sum())
            one.step()
        return network.weight.item(), one.ema_model.weight.item()

    fresh = steps(updater, 2)
    steps(updater, 100)
    network.load_state_dict(first)
    updater.begin_anew()
    assert updater.ema_model.weight.item() == first["weight"].item()
    steps(updater, 1)
    later = make(network, ema_decay=0.9, lr=0.5, warmup=0, momentum=0.9, weight_decay=0.0)
    later.load_state_dict(copy.deepcopy(updater.state_dict()))
    assert later.steps == 103
    assert steps(later, 1) == fresh
