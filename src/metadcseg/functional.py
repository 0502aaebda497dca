"""Every equation of the paper as a function of tensors; a function checks every axis and dtype of its arguments.

Letters: N images, C channels, L classes (0 is background), H and W pixels, D features; where H, W stand, a volume has
Z, H, W. Labels are int64 class numbers or ``IGNORE`` (255). The paper is Mu et al., "Not all pixels are equal:
pixel-wise meta-learning for medical segmentation with noisy labels"; each docstring names its equations.

    >>> import torch
    >>> boundary_weights(torch.zeros(1, 1, 4), torch.tensor([[[True, True, False, False]]]), temperature=0.5).tolist()
    [[[0.5, 0.5, 0.0, 0.0]]]
"""

from metadcseg.algorithm.boundary import (
    Centers,
    Regions,
    boundary_weights,
    decompose_regions,
    dynamic_center_distance,
    foreground_probability,
    region_centers,
)
from metadcseg.algorithm.effective_pixels import effective_pixels
from metadcseg.algorithm.lookahead import (
    gold_gradient,
    meta_gradients,
    pixel_gradients,
    virtual_step,
)
from metadcseg.algorithm.meta_weights import (
    initial_weights,
    normalize_weights,
    pseudo_labels,
    update_weights,
    weighted_pixel_loss,
)
from metadcseg.algorithm.objective import Objective, total_objective
from metadcseg.forward_mode.call import gradient_of, trainable
from metadcseg.losses import mean_over_pixels, pixel_cross_entropy, soft_dice_loss
from metadcseg.noise.paper import corruption_rate, ellipse, morph, rotate
from metadcseg.tensors import PixelGradients

__all__ = [  # noqa: RUF022, in the order of the paper
    # eq. 1-4, 9, 21-24, 28-30: a pair of weights for every pixel, and what the gold images say of it
    "pixel_cross_entropy",
    "pseudo_labels",
    "initial_weights",
    "weighted_pixel_loss",
    "mean_over_pixels",
    "trainable",
    "gradient_of",
    "virtual_step",
    "gold_gradient",
    "pixel_gradients",
    "meta_gradients",
    "PixelGradients",
    "update_weights",
    "normalize_weights",
    # eq. 5-8, 10-12, 46, 47: the boundary and which of its pixels matter
    "foreground_probability",
    "decompose_regions",
    "Regions",
    "region_centers",
    "Centers",
    "dynamic_center_distance",
    "boundary_weights",
    "effective_pixels",
    # eq. 13: what is minimized
    "soft_dice_loss",
    "total_objective",
    "Objective",
    # eq. 15-17, 19, 20: label noise on NumPy masks
    "rotate",
    "morph",
    "ellipse",
    "corruption_rate",
]
