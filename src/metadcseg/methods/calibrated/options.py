"""The options of the method ``calibrated``."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from metadcseg.algorithm.boundary import ForegroundOf
from metadcseg.errors import InputError
from metadcseg.forward_mode.jvp import ForwardMode
from metadcseg.methods.base import MethodInfo
from metadcseg.methods.calibrated.evidence import LEAST_GROUPS
from metadcseg.validation import check_range, check_types

Witness = Literal["none", "current", "ema"]


@dataclass(frozen=True)
class CalibratedOptions:
    """How the method ``calibrated`` learns; every part can be switched off.

    Args:
        pairs: trust comes from the masks that the gold masks replaced. False: what the network draws on gold images
            stands in for them.
        shrink_directions: that masks are too large or too small for a class counts as far as pairs agree on it, not as
            far as a few show it by chance; needs pairs. Tables of single annotators are taken as they are.
        stand_in: of a training without pairs, the first epochs, in which gold is not trained on: from their second half
            the stand-ins come; at least 2. 0: no stand-ins.
        meta: meta-gradients of gold, counted over groups of gold images, are evidence against labels, beside pairs or
            stand-ins, or alone. Groups that are asked are not trained on at the time.
        meta_every: steps from one meta step to the next, at least 1.
        forward_mode: how the derivative of the logits in the direction of the gold gradient is computed: ``"engine"``,
            ``"torch"``, ``"differences"`` (central finite differences), or ``"auto"``, the engine where it can.
        witness: the network's own prediction joins the pairs' table: of the training pass (``"current"``, which costs
            nothing), of the EMA network (``"ema"``, a forward pass more), or not (``"none"``).
        match_shares: the network's say is corrected such that on average as much is doubted as the pairs say; needs a
            witness.
        warmup: epochs before the network is a witness, and before gold is asked.
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
    shrink_directions: bool = True
    stand_in: int = 8
    meta: bool = False
    meta_every: int = 2
    forward_mode: ForwardMode = "auto"
    witness: Witness = "current"
    match_shares: bool = True
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
        for option in ("stand_in", "warmup", "lambda_boundary", "lambda_dice"):
            check_range(self, option, at_least=0)
        if self.stand_in == 1:
            raise InputError(
                "calibrated.stand_in must be 0 (no stand-ins) or at least 2, got 1: the network learns in the first "
                "half of these epochs and draws in the second"
            )
        if self.meta and self.witness == "none":
            raise InputError(
                "calibrated.witness 'none' leaves gold nobody to ask about: take 'current' or 'ema', or set "
                "calibrated.meta false"
            )
        check_range(self, "meta_every", at_least=1)
        check_range(self, "temperature", above=0)
        check_range(self, "boundary_ratio", above=0, below=1)
        check_range(self, "edge_threshold", above=0, at_most=1)

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs with these options."""
        witness = 1.0 if self.witness == "ema" and self.heard else 0.0
        # the tangents ride along; a quarter of the gold images (of 2 to 8 groups one) rests between meta steps
        rate = 1 / self.meta_every
        meta_step = 2.0 * rate - 0.25 * 3.0 * (1 - rate) if self.meta else 0.0
        least_gold = 2 if self.tells else LEAST_GROUPS if self.meta else 1
        return MethodInfo(
            needs_gold=True,
            supervises_gold=True,
            passes=6.0 + witness + meta_step,
            uses_edges=self.dcd,
            least_gold=least_gold,
            asks_gold=self.meta or (self.stand_in > 0 and not self.pairs),
            uses_pairs=self.pairs,
            warmup=0 if self.pairs else self.stand_in or (self.warmup if self.meta else 0),
            warmup_option="warmup" if self.pairs or not self.stand_in else "stand_in",
            keeps_weights=self.heard,
        )

    @property
    def tells(self) -> bool:
        """Whether there is a table: of pairs, or of stand-ins."""
        return self.pairs or self.stand_in > 0

    @property
    def heard(self) -> bool:
        """Whether anybody speaks about trust: a table, or gold that is asked."""
        return self.tells or self.meta
