"""The meta-gradients as the definition has them: a graph of second order, or nothing but loss values."""

import torch
from torch.func import functional_call
from torch.nn import functional as F

IGNORE = 255


def logits(network, parameters, images):
    if hasattr(network, "written_out"):
        return network.written_out(parameters, images)
    buffers = {name: value.clone() for name, value in network.named_buffers()}
    return functional_call(network, {**parameters, **buffers}, (images,)).logits


def mean_loss(scores, labels):
    valid = labels != IGNORE
    return F.cross_entropy(scores, labels, ignore_index=IGNORE, reduction="none").sum() / valid.sum()


def training_loss(network, parameters, noisy, pseudo, alpha, beta):
    scores, valid = logits(network, parameters, noisy.images), noisy.labels != IGNORE
    given = F.cross_entropy(scores, noisy.labels, ignore_index=IGNORE, reduction="none")
    guessed = F.cross_entropy(scores, pseudo, reduction="none")
    return ((alpha * given + beta * guessed) * valid).sum() / valid.sum()


def leaves(network):
    return {
        name: value.detach().clone().requires_grad_()
        for name, value in network.named_parameters()
        if value.requires_grad
    }


def gradient(loss, parameters, create_graph=False):
    found = torch.autograd.grad(
        loss, list(parameters.values()), create_graph=create_graph, allow_unused=True, materialize_grads=True
    )
    return dict(zip(parameters, found, strict=True))


def exact(network, noisy, gold, pseudo, weights, lr):
    """Differentiate the gold loss through the virtual step (eq. 21, 28)."""
    alpha, beta = weights.alpha.clone().requires_grad_(), weights.beta.clone().requires_grad_()
    start = leaves(network)
    step = gradient(training_loss(network, start, noisy, pseudo, alpha, beta), start, create_graph=True)
    ahead = {name: value - lr * step[name] for name, value in start.items()}
    return torch.autograd.grad(mean_loss(logits(network, ahead, gold.images), gold.labels), [alpha, beta])


def linearized(network, noisy, gold, pseudo, weights, lr):
    """The same with the gold gradient where the network stands."""
    alpha, beta = weights.alpha.clone().requires_grad_(), weights.beta.clone().requires_grad_()
    start = leaves(network)
    v = gradient(mean_loss(logits(network, start, gold.images), gold.labels), start)
    step = gradient(training_loss(network, start, noisy, pseudo, alpha, beta), start, create_graph=True)
    agreement = sum((v[name] * step[name]).sum() for name in start)
    return torch.autograd.grad(-lr * agreement, [alpha, beta])


def gold_loss_after(network, noisy, gold, pseudo, alpha, beta, lr):
    """L_val of eq. 22 as a plain function of the weights."""
    start = leaves(network)
    step = gradient(training_loss(network, start, noisy, pseudo, alpha, beta), start)
    ahead = {name: value - lr * step[name] for name, value in start.items()}
    return mean_loss(logits(network, ahead, gold.images), gold.labels).item()
