"""Looking one step ahead: what trusting a pixel would do to the gold loss (eq. 21, 28-30).

With v the gradient of the gold loss, the derivative with respect to the weight of one pixel is
-lr * <v, gradient of that pixel's loss> (eq. 29). For all pixels at once that is one derivative of the logits
in the direction v, carried along by a single forward pass; no graph of second order is ever built.
Nothing here moves the network, also when it raises.
"""

from torch import Tensor, nn

from metadcseg.algorithm.meta_weights import weighted_pixel_loss
from metadcseg.forward_mode.call import Parameters, gradient_at, gradient_of_pass, trainable
from metadcseg.forward_mode.jvp import ForwardMode, LogitChange, jvp
from metadcseg.losses import mean_cross_entropy, mean_over_pixels
from metadcseg.tensors import (
    IGNORE,
    AllReduceMean,
    Batch,
    PixelGradients,
    WeightMaps,
    check_classes,
    check_tensor,
)


def gold_gradient(network: nn.Module, parameters: Parameters, gold: Batch) -> tuple[Tensor, Parameters]:
    """Return the gold loss L_val of eq. 21, the mean cross-entropy, and its gradient v at given parameters.

    Args:
        network: called as ``network(images)``, returns an object with ``.logits``.
        parameters: the values at which to compute, such as :func:`trainable` or :func:`virtual_step` return.
        gold: the verified batch.

    Returns:
        The detached loss, a scalar, and its gradient by parameter name.
    """
    return gradient_at(network, parameters, gold.images, lambda logits: mean_cross_entropy(logits, gold))


def training_gradient(
    network: nn.Module, noisy: Batch, pseudo: Tensor, weights: WeightMaps, logits: Tensor | None = None
) -> Parameters:
    """Return the gradient of the mean weighted pixel loss (eq. 3), which the virtual step descends.

    Args:
        network: called as ``network(images)``, returns an object with ``.logits``.
        noisy: the training batch.
        pseudo: (N, H, W) int64, its pseudo-labels.
        weights: alpha and beta, (N, H, W).
        logits: (N, L, H, W) with the graph of the training pass, which is kept; None makes a pass of its own.
    """

    def loss_of(logits: Tensor) -> Tensor:
        pixels = weighted_pixel_loss(logits, noisy.labels, pseudo, weights)
        return mean_over_pixels(pixels, noisy.labels, noisy.global_batch_size.pixels)

    return gradient_of_pass(network, logits, noisy.images, loss_of)


def virtual_step(network: nn.Module, gradient: Parameters, lr: float) -> Parameters:
    """Return where one plain gradient step would take the parameters; the network stays put (eq. 21).

    Args:
        network: the network.
        gradient: of the training loss, by parameter name.
        lr: the learning rate (lambda of eq. 21).

    Example:
        >>> layer = nn.Linear(1, 1, bias=False)
        >>> ahead = virtual_step(layer, {"weight": Tensor([[1.0]])}, lr=0.5)
        >>> round((layer.weight - ahead["weight"]).item(), 6)
        0.5
    """
    return {name: value.detach() - lr * gradient[name] for name, value in trainable(network).items()}


def pixel_gradients(
    found: LogitChange, labels: Tensor, pseudo: Tensor, lr: float, pixels: Tensor | None = None
) -> PixelGradients:
    """Return the derivative of the gold loss with respect to the weights of all pixels (eq. 29).

    With ``found`` in the direction of the gradient of the gold loss L_val at the stepped parameters this is
    exactly the derivative of L_val(theta - lr * gradient of mean_over_pixels(alpha * f + beta * g)) with
    respect to alpha and beta.

    Args:
        found: the change of the logits in the direction v.
        labels: (N, H, W) int64, what was given, or ``IGNORE``.
        pseudo: (N, H, W) int64.
        lr: the learning rate of the virtual step.
        pixels: of the whole batch, where this is one device's part of it (:attr:`Batch.global_batch_size`).

    Returns:
        Detached gradients, 0 where ``labels`` are ``IGNORE``.
    """
    size = check_classes("found.logits", found.logits)
    check_tensor("found.change", found.change, "float", tuple(found.logits.shape))
    check_tensor("labels", labels, "int64", size)
    check_tensor("pseudo", pseudo, "int64", size)
    valid = labels != IGNORE
    count = valid.sum().clamp(min=1) if pixels is None else pixels  # of the mean over pixels

    def derivative(targets: Tensor) -> Tensor:
        own = found.change.gather(1, targets.masked_fill(targets == IGNORE, 0).unsqueeze(1))  # (N, 1, H, W)
        # (softmax - one-hot) . change, the change of the loss; the difference first keeps confident pixels accurate
        change = (found.logits.softmax(dim=1) * (found.change - own)).sum(dim=1)
        return (-lr * change / count).masked_fill(~valid, 0.0)

    return PixelGradients(derivative(labels), derivative(pseudo))


def meta_gradients(
    network: nn.Module,
    noisy: Batch,
    gold: Batch,
    pseudo: Tensor,
    weights: WeightMaps,
    *,
    lr: float,
    logits: Tensor | None = None,
    all_reduce_mean: AllReduceMean = dict,
    forward_mode: ForwardMode = "auto",
) -> PixelGradients:
    """Return how the gold loss after a virtual step depends on every noisy pixel's weights (eq. 21, 28-30).

    Args:
        network: called as ``network(images)``, returns an object with ``.logits``.
        noisy: the training batch.
        gold: the verified batch.
        pseudo: (N, H, W) int64, the pseudo-labels of the training batch.
        weights: alpha and beta with which the virtual step is taken.
        lr: the learning rate of the virtual step.
        logits: (N, L, H, W), what the network says of the noisy batch, with its graph, where the training pass was made
            already: see :func:`training_gradient`.
        all_reduce_mean: over the devices that share the batches, where several do.
        forward_mode: how the derivative of the logits is computed (:func:`~metadcseg.forward_mode.jvp.jvp`).

    Raises:
        InputError: see :func:`~metadcseg.forward_mode.jvp.jvp`.
    """
    gradient = training_gradient(network, noisy, pseudo, weights, logits)
    ahead = virtual_step(network, dict(all_reduce_mean(gradient)), lr)
    _, v = gold_gradient(network, ahead, gold)
    _, found = jvp(network, noisy.images, dict(all_reduce_mean(v)), mode=forward_mode)
    whole = noisy.global_batch_size
    pixels = whole.pixels * whole.world_size  # a weight is of one pixel among those of all devices
    return pixel_gradients(found, noisy.labels, pseudo, lr, pixels)
