"""Several networks of one kind that learn side by side, for methods whose networks teach or choose for each other."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from metadcseg.networks.contract import Output
from metadcseg.networks.tap import TappedNetwork


class Committee(nn.Module):
    """K networks that share no weights; called as one network, they answer with the mean of their logits.

    Args:
        members: at least one, of the same axes and number of classes.

    Attributes:
        members: the networks. An updater clips the gradient of each by itself.
        head: name of the layer that makes the logits of the first member.
        axes: 2, or 3 for networks of volumes.
        pretrained: what was taken from a file to begin with, the same for every member; None without one.

    Example:
        >>> members = [TappedNetwork(nn.Sequential(nn.Conv2d(1, 2, 1)), "0") for _ in range(3)]
        >>> committee = Committee(members)
        >>> mean, each = committee(torch.ones(1, 1, 4, 4)), committee.answers(torch.ones(1, 1, 4, 4))
        >>> torch.equal(mean.logits, sum(answer.logits for answer in each) / 3)
        True
    """

    members: nn.ModuleList

    def __init__(self, members: Sequence[TappedNetwork]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)
        self.head, self.axes, self.pretrained = members[0].head, members[0].axes, members[0].pretrained

    def forward(self, images: Tensor) -> Output:
        """Return the mean of the members' logits, and the features of the first, for (N, C, H, W) images."""
        answers = self.answers(images)
        mean = torch.stack([answer.logits for answer in answers]).sum(dim=0) / len(answers)
        return Output(mean, answers[0].features)

    def answers(self, images: Tensor) -> list[Output]:
        """Return what each member says of (N, C, H, W) images."""
        return [member(images) for member in self.members]

    def compile_passes(self) -> None:
        """Have torch.compile translate every member (:meth:`TappedNetwork.compile_passes`)."""
        for member in members_of(self):
            member.compile_passes()


def members_of(network: nn.Module) -> list[TappedNetwork]:
    """Return the networks of a committee, or the one network that is given."""
    members = network.members if isinstance(network, Committee) else [network]
    return list(members)  # type: ignore[arg-type]
