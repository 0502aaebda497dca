"""The networks that come with the package: where each is written, and which options it has."""

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from metadcseg.imports import without_collector
from metadcseg.networks.tap import TappedNetwork


@dataclass(frozen=True)
class Kind:
    """One network of the package.

    Args:
        source: ``module.function`` below ``metadcseg.networks``, loaded when the network is first made. The function
            is called as ``function(channels, classes, **options)``.
        options: the options it has besides ``spatial_dims``, with its own defaults.
        volumes: it has the option ``spatial_dims``, and there is a form of it for volumes.
    """

    source: str
    options: Mapping[str, Any]
    volumes: bool = False

    def create(self, channels: int, classes: int, options: Mapping[str, Any]) -> TappedNetwork:
        """Return the network, freshly initialized from torch's own random state."""
        module, _, function = self.source.partition(".")
        with without_collector():  # MONAI takes seconds: only when used
            made = getattr(importlib.import_module(f"metadcseg.networks.{module}"), function)
        own = {name: options[name] for name in (*self.options, *(("spatial_dims",) if self.volumes else ()))}
        network: TappedNetwork = made(channels, classes, **own)
        return network


_SIZED = {"size": "small", "norm": "batch"}
_LAYERS = {"norm": "group", "upsampling": "learned", "activation": "leaky_relu"}

KINDS: dict[str, Kind] = {
    "unetplusplus": Kind("unetplusplus.unetplusplus", {"width": 16, **_LAYERS}, volumes=True),
    "unet": Kind("unet.unet", {"width": 16, **_LAYERS}, volumes=True),
    "nnunet-plain": Kind("nnunet_plain.nnunet_plain", {"width": 32, "norm": "instance"}, volumes=True),
    "maxformer": Kind("maxformer.maxformer", _SIZED),
    "madgnet": Kind("madgnet.madgnet", _SIZED),
    "condseg": Kind("condseg.condseg", _SIZED),
    "deeplabv3plus": Kind("deeplabv3plus.deeplabv3plus", _SIZED),
}
"""Every network by its name: one line each."""

OPTIONS = ("width", "size", "norm", "upsampling", "activation")
"""Options that some networks have and others do not."""
