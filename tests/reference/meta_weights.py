"""Eq. 1, 2, 9, 21-24 and 29 of the paper, pixel by pixel, in plain Python and numpy."""

import math

import numpy as np

IGNORE = 255


def softmax(logits):
    """Probabilities of one pixel from its list of logits."""
    top = max(logits)
    powers = [math.exp(value - top) for value in logits]
    return [power / sum(powers) for power in powers]


def cross_entropy(logits, label):
    """L_CE of one pixel."""
    return -math.log(softmax(logits)[label])


def pseudo_label(logits):
    """The class with the highest probability, of one pixel."""
    probabilities = softmax(logits)
    best = 0
    for c in range(len(probabilities)):
        if probabilities[c] > probabilities[best]:
            best = c
    return best


def pixel_loss(logits, labels, alpha, beta):
    """Eq. 1 for a batch: logits (N, L, H, W), labels (N, H, W); the pseudo-label is found here."""
    count, _, height, width = logits.shape
    loss = np.zeros((count, height, width))
    for i in range(count):
        for h in range(height):
            for w in range(width):
                if labels[i, h, w] == IGNORE:
                    continue
                z = list(logits[i, :, h, w])
                real = cross_entropy(z, labels[i, h, w])
                pseudo = cross_entropy(z, pseudo_label(z))
                loss[i, h, w] = alpha[i, h, w] * real + beta[i, h, w] * pseudo
    return loss


def start(count, height, width):
    """Eq. 2."""
    alpha, beta = np.empty((count, height, width)), np.empty((count, height, width))
    for i in range(count):
        for h in range(height):
            for w in range(width):
                alpha[i, h, w], beta[i, h, w] = 1.0, 0.0
    return alpha, beta


def gamma(alpha, beta):
    """Eq. 9."""
    total = np.empty_like(alpha)
    for pixel in np.ndindex(alpha.shape):
        total[pixel] = alpha[pixel] + beta[pixel]
    return total


def linear_gradient(matrix, inputs, label):
    """The gradient of one pixel's cross-entropy in the linear model z = W x, with respect to W."""
    classes, channels = matrix.shape
    z = [sum(matrix[c, d] * inputs[d] for d in range(channels)) for c in range(classes)]
    p = softmax(z)
    gradient = np.empty_like(matrix)
    for c in range(classes):
        for d in range(channels):
            gradient[c, d] = (p[c] - (1.0 if c == label else 0.0)) * inputs[d]
    return gradient


def virtual_step(theta, f_gradients, g_gradients, alpha, beta, rate):
    """Eq. 21 with means: theta is any array; the gradients are lists over pixels, alpha and beta as well."""
    count = len(alpha)
    stepped = theta.copy()
    for pixel in range(count):
        stepped -= rate / count * (alpha[pixel] * f_gradients[pixel] + beta[pixel] * g_gradients[pixel])
    return stepped


def alignment(gold_gradient, pixel_gradient, rate, count):
    """Eq. 29 with means: the derivative of the gold loss with respect to one pixel's weight."""
    total = 0.0
    for entry in np.ndindex(gold_gradient.shape):
        total += gold_gradient[entry] * pixel_gradient[entry]
    return -rate / count * total


def weight_step(weight, gradient, eta):
    """Eq. 22 and 23, one weight map."""
    moved = np.empty_like(weight)
    for pixel in np.ndindex(weight.shape):
        moved[pixel] = max(weight[pixel] - eta * gradient[pixel], 0.0)
    return moved


def root_mean_square(gradient_alpha, gradient_beta, valid):
    """One image: over its valid pixels and both maps."""
    squares = []
    for pixel in np.ndindex(valid.shape):
        if valid[pixel]:
            squares += [gradient_alpha[pixel] ** 2, gradient_beta[pixel] ** 2]
    return math.sqrt(sum(squares) / len(squares))


def normalized(alpha, beta):
    """Eq. 24 as printed, one image: the weights sum to one."""
    z = 0.0
    for pixel in np.ndindex(alpha.shape):
        z += alpha[pixel] + beta[pixel]
    return alpha / z, beta / z
