"""HAMIL: the numbers of its loss worked out by hand, what must not change it, and its teachers."""

from math import log

import pytest
import torch
from tests.contract.tools import PlainUpdater, batch, network_of, storage
from tests.unit.methods.tools import flipped_third
from torch import nn

from metadcseg.losses import pixel_cross_entropy
from metadcseg.methods import HAMIL
from metadcseg.methods.hamil import distillation_loss
from metadcseg.networks import Committee, TappedNetwork
from metadcseg.tensors import Batch
from metadcseg.warp import Warp


def pixels(*logits: tuple[float, float]) -> torch.Tensor:
    """Logits (class 0, class 1) of some pixels, as (1, 2, 1, P)."""
    return torch.tensor(logits).T.reshape(1, 2, 1, -1)


def labelled(*labels: int) -> Batch:
    given = torch.tensor(labels).view(1, 1, -1)
    return Batch(torch.zeros(1, 1, *given.shape[1:]), given, torch.arange(1), Warp.identity(1))


def test_the_loss_worked_out_by_hand():
    own, two, three = pixels((0, 0), (0, 0)).float(), pixels((2.0, 0), (0, 1)), pixels((1.0, 0), (1, 0))
    found = HAMIL(dice=0.0).loss_of(own, two, three, labelled(0, 1))
    assert found["pixel"].item() == pytest.approx(1.25 * log(2), abs=1e-6)  # (2 ln 2 + 0.5 ln 2) / 2
    assert found["distillation"].item() == pytest.approx(0.140581, abs=2e-6)  # 0.140625 without T
    assert found["loss"].item() == pytest.approx(0.866434 + 0.2 * 0.140581, abs=2e-6)
    assert found["agreement"].item() == 0.5
    teacher, mine = ((logits.double() / 30).softmax(dim=1) for logits in ((two + three) / 2, own))
    divergence = (teacher * (teacher / mine).log()).sum(dim=1)
    assert 900 * divergence.mean().item() == pytest.approx(0.140581, abs=1e-6)


def test_equal_members_teach_nothing_and_agree_everywhere():
    generator = torch.Generator().manual_seed(0)
    logits = 5 * torch.randn(2, 3, 16, 16, generator=generator)
    found = HAMIL(dice=0.0).loss_of(logits, logits.clone(), logits.clone(), batch(0))
    assert found["distillation"].item() == 0
    torch.testing.assert_close(found["loss"], 2 * pixel_cross_entropy(logits, batch(0).labels).mean())


def test_a_constant_added_to_all_classes_changes_nothing():
    generator = torch.Generator().manual_seed(0)
    logits = [torch.randn(2, 3, 16, 16, generator=generator) for _ in range(3)]
    shifted = [one + torch.randn(2, 1, 16, 16, generator=generator) for one in logits]
    first, second = (HAMIL().loss_of(*three, batch(0))["loss"] for three in (logits, shifted))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=0)


def test_permuting_the_members_permutes_what_they_learn():
    networks = [network_of("hamil", {}) for _ in range(2)]
    networks[1] = Committee([networks[1].members[place] for place in (2, 0, 1)])
    for network in networks:
        method = HAMIL(gold="mixed")
        state = method.start(network, PlainUpdater(network), torch.Generator(), storage())
        method.step(state, batch(0), batch(100))
    for place, other in enumerate((2, 0, 1)):
        pair = networks[1].members[place], networks[0].members[other]
        for one, two in zip(*(member.parameters() for member in pair), strict=True):
            torch.testing.assert_close(one, two)


def test_distillation_is_a_pull_of_centred_logits():
    generator = torch.Generator().manual_seed(0)
    mine, teacher = (2 * torch.randn(1, 4, 3, 3, generator=generator) for _ in range(2))
    away = teacher - mine
    away = away - away.mean(dim=1, keepdim=True)
    expected = (away**2).sum(dim=1) / (2 * 4)
    torch.testing.assert_close(distillation_loss(mine, teacher, 30.0), expected, rtol=0.1, atol=0)


def test_teachers_are_ahead_of_students_while_these_learn():
    """The mean of two has, on labels that are a third wrong, less loss on the truth than its third."""
    noisy, _, truth, _ = flipped_third()
    torch.manual_seed(0)
    members = [
        TappedNetwork(nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 2, 1)), "2")
        for _ in range(3)
    ]
    network, method = Committee(members), HAMIL()
    state = method.start(network, PlainUpdater(network), torch.Generator(), storage())
    ahead = []
    for _ in range(6):
        method.step(state, noisy, None)
        with torch.no_grad():
            logits = [answer.logits for answer in network.answers(noisy.images)]
        students = sum(pixel_cross_entropy(one, truth).mean() for one in logits)
        teachers = sum(
            pixel_cross_entropy((logits[i - 1] + logits[i - 2]) / 2, truth).mean() for i in range(3)
        )
        ahead.append(students - teachers)
    assert min(ahead) > 0


def test_fine_tuning_goes_on_with_gold_alone():
    ends = []
    for number in (0, 1):  # of the noisy batch
        network = network_of("hamil", {})
        method, updater = HAMIL(gold="finetune", warmup=1), PlainUpdater(network)
        state = method.start(network, updater, torch.Generator(), storage())
        updater.epoch = 1
        method.step(state, batch(number), batch(100))
        ends.append(network.state_dict())
    assert all(torch.equal(value, ends[1][name]) for name, value in ends[0].items())


@pytest.mark.parametrize(("temperature", "far"), [(1.0, 100.0), (0.1, 10.0), (0.05, 100.0), (30.0, 5.0)])
def test_distillation_of_far_logits_is_finite(temperature, far):
    own = torch.tensor([far, 0.0]).view(1, 2, 1, 1).requires_grad_()
    teacher = torch.tensor([0.0, far]).view(1, 2, 1, 1)
    found = distillation_loss(own, teacher, temperature)
    both = [(each.double() / temperature).log_softmax(dim=1) for each in (own, teacher)]
    wanted = temperature**2 * (both[1].exp() * (both[1] - both[0])).sum(dim=1)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-6)
    (gradient,) = torch.autograd.grad(found.sum(), own)
    assert gradient.isfinite().all()
