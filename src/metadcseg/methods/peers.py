"""What methods have in common whose networks learn from each other: the committee, its gold loss, its report."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from metadcseg.errors import InputError
from metadcseg.methods.base import MethodState, StepReport
from metadcseg.methods.common import supervised_loss
from metadcseg.networks.committee import Committee, members_of
from metadcseg.tensors import Batch


def committee_of(network: nn.Module, method: str, count: int) -> Committee:
    """Return the committee that a method of several networks was given.

    Raises:
        InputError: where it is another number of networks.
    """
    members = members_of(network)
    if not isinstance(network, Committee) or len(members) != count:
        raise InputError(f"method '{method}' trains {count} networks, got {len(members)}: give so many")
    return network


def descend_each(
    state: MethodState,
    committee: Committee,
    parts: Sequence[Mapping[str, Tensor]],
    gold: Batch | None,
    dice: float,
) -> StepReport:
    """Take one step with all members: each down a loss of its own, and down that of gold.

    Args:
        state: of the method.
        committee: its networks.
        parts: of each member what it descends as ``"loss"``, and whatever is worth a report.
        gold: a verified batch, of equal weight, by cross-entropy and Dice; or None.
        dice: weight of the soft Dice loss of gold.

    Returns:
        The means over the members.
    """
    state.updater.backward(torch.stack([part["loss"] for part in parts]).sum())  # members share no weight
    scalars = {name: torch.stack([part[name].detach().float() for part in parts]).mean() for name in parts[0]}
    if gold is not None:
        losses = [supervised_loss(answer.logits, gold, dice)[0] for answer in committee.answers(gold.images)]
        total = torch.stack(losses).sum()
        state.updater.backward(total)
        scalars["gold"] = total.detach() / len(losses)
        scalars["loss"] = scalars["loss"] + scalars["gold"]
    state.updater.step()
    return StepReport(scalars)
