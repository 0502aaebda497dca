"""Meta-Weight-Net: its meta-gradient against a graph of second order, and what it learns of wrong labels."""

import io

import torch
from tests.contract.tools import PlainUpdater, batch, storage, tiny_network
from tests.unit.methods.tools import flipped_third, start
from torch import nn
from torch.func import functional_call

from metadcseg.losses import mean_cross_entropy, mean_over_pixels, pixel_cross_entropy
from metadcseg.methods import MetaWeightNet
from metadcseg.methods.meta_weight_net import LossToWeight
from metadcseg.networks import TappedNetwork


def test_it_moves_as_the_gold_loss_after_a_virtual_step_tells_it():
    """The whole chain differentiated by torch: weights, virtual step, gold loss."""
    method, network = MetaWeightNet(), tiny_network()
    state = method.start(network, PlainUpdater(network), torch.Generator().manual_seed(0), storage())
    net: LossToWeight = state.parts["net"]
    fresh = tiny_network()
    logits = fresh(batch(0).images).logits
    losses = pixel_cross_entropy(logits, batch(0).labels)
    training = mean_over_pixels(net(losses.detach()) * losses, batch(0).labels)
    own = dict(fresh.named_parameters())
    gradient = torch.autograd.grad(training, list(own.values()), create_graph=True)
    ahead = {name: value - 0.1 * moved for (name, value), moved in zip(own.items(), gradient, strict=True)}
    gold_loss = mean_cross_entropy(functional_call(fresh, ahead, batch(100).images).logits, batch(100))
    expected = torch.autograd.grad(gold_loss, list(net.parameters()))
    found = {}
    net._adam.step = lambda: found.update({name: p.grad.clone() for name, p in net.named_parameters()})
    method.step(state, batch(0), batch(100))
    for (name, _), exact in zip(net.named_parameters(), expected, strict=True):
        torch.testing.assert_close(0.1 * found[name], exact, rtol=1e-3, atol=1e-8)  # 0.1: the learning rate


def test_large_losses_of_wrong_labels_lose_weight():
    noisy, gold, truth, wrong = flipped_third()
    torch.manual_seed(0)
    network = TappedNetwork(nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1)), "2")
    method = MetaWeightNet(eta=0.003)
    state = start(method, network)
    for _ in range(60):
        report = method.step(state, noisy, gold)
    alpha = report.maps.alpha
    assert alpha[wrong].mean() < 0.3 * alpha[~wrong].mean()
    found = method.predict(state, noisy.images)
    assert (found.argmax(dim=1) == truth).float().mean() > 0.99
    kept = method.weights(state, noisy)
    assert kept.alpha[wrong].mean() < 0.3 * kept.alpha[~wrong].mean()
    assert not kept.beta.any()


def test_weights_lie_between_0_and_1_and_follow_the_generator():
    nets = [LossToWeight(1e-3, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    losses = torch.tensor([0.0, 0.7, 30.0])
    weights = [net(losses).tolist() for net in nets]
    assert weights[0] == weights[1] != weights[2]
    assert all(0 < weight < 1 for weight in weights[0])


def test_what_adam_remembers_is_saved_with_it():
    states = [start(MetaWeightNet(), tiny_network()) for _ in range(2)]
    MetaWeightNet().step(states[0], batch(0), batch(100))
    file = io.BytesIO()
    torch.save(states[0].state_dict(), file)
    file.seek(0)
    states[1].load_state_dict(torch.load(file, weights_only=True), 2)
    nets = [state.parts["net"] for state in states]
    for net in nets:
        net.learn(
            torch.rand(2, 16, 16, generator=torch.Generator().manual_seed(0)), torch.ones(2, 16, 16), batch(0)
        )
    for one, other in zip(*(net.parameters() for net in nets), strict=True):
        assert torch.equal(one, other)
