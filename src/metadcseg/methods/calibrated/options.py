"""The options of the method ``calibrated``."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from metadcseg.algorithm.boundary import ForegroundOf
from metadcseg.methods.base import MethodInfo
from metadcseg.validation import check_range, check_types

Witness = Literal["none", "current", "ema"]


@dataclass(frozen=True)
class CalibratedOptions:
    """How the method ``calibrated`` learns; every part can be switched off.

    Args:
        pairs: trust comes from the pairs; without, alpha stays 1 (plain supervision with gold, and the boundary term).
        bound: standard errors over gold images that are taken off what the pairs say against a label, at least 0.
        witness: the network's own prediction joins the pairs' table: of the training pass (``"current"``, which costs
            nothing), of the EMA network (``"ema"``, a forward pass more), or not (``"none"``).
        witness_strength: the power of the prediction in Bayes' rule, at least 0; 1 is the rule itself.
        like_pairs: pairs that a mask resembles, by the network's prediction, count more for it; needs a witness.
        warmup: epochs before the network is a witness.
        dcd: False takes the boundary term out (eq. 5-12).
        regions: ``"foreground"`` divides the image by 1 - P(background), ``"per_class"`` once for each class.
        boundary_ratio: share of the pixels that the boundary may take (table 8), above 0 and below 1.
        edge_threshold: the least probability of an edge that joins the boundary (eq. 8), above 0 and at most 1.
        temperature: tau_dcd of eq. 12, above 0.
        lambda_boundary: lambda_1 of eq. 13, at least 0.
        lambda_dice: lambda_2 of eq. 13, at least 0; 0 takes Dice out, of the gold loss, too.

    Raises:
        InputError: for an option with a value that is not allowed.
    """

    name: ClassVar[str] = "calibrated"

    pairs: bool = True
    bound: float = 1.0
    witness: Witness = "current"
    witness_strength: float = 1.0
    like_pairs: bool = True
    warmup: int = 3
    dcd: bool = True
    regions: ForegroundOf = "foreground"
    boundary_ratio: float = 0.11
    edge_threshold: float = 0.25
    temperature: float = 20.0
    lambda_boundary: float = 0.33
    lambda_dice: float = 0.12

    def __post_init__(self) -> None:
        check_types(self)
        for option in ("bound", "witness_strength", "warmup", "lambda_boundary", "lambda_dice"):
            check_range(self, option, at_least=0)
        check_range(self, "temperature", above=0)
        check_range(self, "boundary_ratio", above=0, below=1)
        check_range(self, "edge_threshold", above=0, at_most=1)

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs with these options."""
        return MethodInfo(
            needs_gold=True,
            supervises_gold=True,
            passes=7.0 if self.pairs and self.witness == "ema" else 6.0,
            uses_edges=self.dcd,
            uses_pairs=self.pairs,
        )
