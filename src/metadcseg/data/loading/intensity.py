"""Change the intensities of a training image: noise, blur, brightness, contrast, gamma, by MONAI's transforms.

Which are drawn, how often and how far is nnU-Net's choice (Isensee et al., Nature Methods 2021, supplement), for images
of mean 0 and standard deviation 1. Labels and weights stay: nothing is moved.
"""

from typing import Any

import torch
from torch import Tensor

from metadcseg.tensors import check_tensor


def change_intensity(image: Tensor, seed: int) -> Tensor:
    """Return an image with other intensities; the same seed, on a processor the same bits.

    | in this order | probability | range |
    |---|---|---|
    | Gaussian noise | 0.1 | standard deviation 0 to 0.1, drawn evenly |
    | Gaussian blur | 0.2 | sigma 0.5 to 1 pixel, each axis by itself |
    | brightness: times f | 0.15 | f from 0.75 to 1.25 |
    | contrast: times f about the mean, within the image's range | 0.15 | f from 0.75 to 1.25 |
    | gamma, mean and standard deviation kept | 0.3 | 0.7 to 1.5 |

    Args:
        image: (C, H, W) or (C, D, H, W) float32, normalized. All channels change alike but for noise.
        seed: the only source of randomness, from 0 to 2^31 - 2.

    Returns:
        Likewise.

    Raises:
        InputError: for another shape or dtype.

    Example:
        >>> image = torch.arange(16.0).view(1, 4, 4)
        >>> found = [change_intensity(image, seed) for seed in range(20)]
        >>> torch.equal(found[3], change_intensity(image, 3)), 0 < sum(torch.equal(one, image) for one in found) < 20
        (True, True)
    """
    check_tensor("image", image, "float", ("C", "H", "W") if image.ndim == 3 else ("C", "D", "H", "W"))
    transforms = _transforms()
    transforms.set_random_state(seed=seed)
    changed: Tensor = transforms(image).as_tensor().to(torch.float32)
    return changed


def _transforms() -> Any:
    """Return new ones for each image: they hold a random state, and images are made in several threads."""
    from monai.transforms.compose import Compose  # a second or two: only where it is asked for
    from monai.transforms.intensity.array import (
        RandAdjustContrast,
        RandGaussianNoise,
        RandGaussianSmooth,
        RandScaleIntensity,
        RandScaleIntensityFixedMean,
    )

    sigma, change = (0.5, 1.0), (-0.25, 0.25)
    return Compose(
        [
            RandGaussianNoise(prob=0.1, std=0.1, sample_std=True),
            RandGaussianSmooth(sigma, sigma, sigma, prob=0.2),
            RandScaleIntensity(change, prob=0.15),
            RandScaleIntensityFixedMean(prob=0.15, factors=change, preserve_range=True),
            RandAdjustContrast(prob=0.3, gamma=(0.7, 1.5), retain_stats=True),
        ]
    )
