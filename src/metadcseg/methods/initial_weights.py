"""The weights that a network began with, for a method that begins anew after a first part."""

import torch
from torch import Tensor, nn


class InitialWeights(nn.Module):
    """Keeps a copy of all parameters and buffers of a network, and puts them back once.

    Args:
        network: before its first step.

    Example:
        >>> network = nn.Linear(1, 1)
        >>> kept, first = InitialWeights(network), network.weight.item()
        >>> _ = nn.init.constant_(network.weight, 9.0)
        >>> kept.put_back_once(network), network.weight.item() == first
        (True, True)
        >>> kept.put_back_once(network)
        False
    """

    used: Tensor

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self._names = list(network.state_dict())
        for place, value in enumerate(network.state_dict().values()):
            self.register_buffer(f"value_{place}", value.detach().clone())
        self.register_buffer("used", torch.zeros((), dtype=torch.bool))

    def put_back_once(self, network: nn.Module) -> bool:
        """Give the network its first weights, and return True; from the second call on do nothing."""
        if self.used:
            return False
        network.load_state_dict(
            {name: getattr(self, f"value_{place}") for place, name in enumerate(self._names)}
        )
        self.used.fill_(True)
        return True
