"""The options of the method ``binned``."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from metadcseg.algorithm.boundary import ForegroundOf
from metadcseg.forward_mode.jvp import ForwardMode
from metadcseg.methods.base import MethodInfo
from metadcseg.validation import check_range, check_types


@dataclass(frozen=True)
class BinnedOptions:
    """How the method ``binned`` learns; the defaults are what did best here (docs/results/recipe.md).

    Args:
        min_runner_up_probability: pixels are asked about where the most probable other class has at least this part of
            the probability of both, above 0 and at most 0.5 (only where it is the more probable one).
        discount_symmetric_noise: a label is believed where the opposite mistake (too little in place of too much) is
            about as frequent; without, only evidence counts.
        pseudo_labels: the most probable class other than the given one, by the network as it stands (``"current"``) or
            by its moving average (``"ema"``).
        virtual_step: ``"exact"`` takes the gold gradient after the virtual step (eq. 21-22),
            ``"linearized"`` before it, which saves the virtual step, a second gold pass and a second noisy pass.
        meta_every: steps from one meta step to the next, at least 1; the weights rest in between.
        gold_momentum: of a running mean of the gold gradient, by which the meta step asks more gold images than
            those of one batch; from 0 (this batch alone) to below 1.
        clean_supervision: the gold batch also enters the training loss, with weight 1.
        dice: what the Dice term of eq. 13 compares with: the ``"given"`` labels, as printed, or ``"weighted"``, both
            labels as far as alpha and beta trust them. With the latter the gold loss has the same Dice term, with
            the former it is cross-entropy alone (eq. 21).
        cross_fit: gold images take turns, epoch by epoch: the meta step asks a half (of fewer than 12 images, or with
            a gold batch below 6), a third (below 16, or 8) or a quarter of them, while the others are trained on;
            without, or with a single gold image or a gold batch of one, all are trained on and asked at once.
        warmup: epochs with weights (1, 0) and without meta step; gold supervision stays on.
        regions: ``"foreground"`` divides the image by 1 - P(background), ``"per_class"`` once for each class.
        boundary_ratio: share of the pixels that the boundary may take (table 8), above 0 and below 1.
        tau: the confidence of eq. 6-8, above 0.5 and below 1, in place of ``boundary_ratio``.
        edge_threshold: the least probability of an edge that joins the boundary (eq. 8), above 0 and at most 1.
            "Grad thresh" of table 8 has 0.08 to 0.12; the default served the shipped detector best on drawn
            validation scenes (docs/results/edges.md).
        temperature: tau_dcd of eq. 12, above 0. Table 8 has 0.5 to 0.9, which on unscaled features gives nearly
            all the weight to a few dozen pixels; the default was chosen on validation images
            (docs/results/defaults.md).
        lambda_boundary: lambda_1 of eq. 13, at least 0.
        lambda_dice: lambda_2 of eq. 13, at least 0; 0 takes Dice out.
        detach_boundary_weights: keeps the gradient from flowing through w of eq. 12 (eq. 44 lets it).
        forward_mode: how the derivative of the logits in the direction of the gold gradient is computed: ``"engine"``,
            ``"torch"``, ``"differences"`` (central finite differences), or ``"auto"``, the engine where it can.
        meta: False leaves the weights at (1, 0): table 5 "without meta".
        dcd: False takes the boundary term out: table 5 "without DCD".

    Raises:
        InputError: for an option with a value that is not allowed.
    """

    name: ClassVar[str] = "binned"

    min_runner_up_probability: float = 0.1
    discount_symmetric_noise: bool = True
    pseudo_labels: Literal["current", "ema"] = "ema"
    virtual_step: Literal["exact", "linearized"] = "linearized"
    meta_every: int = 2
    gold_momentum: float = 0.9
    clean_supervision: bool = True
    cross_fit: bool = True
    dice: Literal["given", "weighted"] = "weighted"
    warmup: int = 0
    regions: ForegroundOf = "foreground"
    boundary_ratio: float = 0.11
    tau: float | None = None
    edge_threshold: float = 0.25
    temperature: float = 20.0
    lambda_boundary: float = 0.33
    lambda_dice: float = 0.12
    detach_boundary_weights: bool = True
    forward_mode: ForwardMode = "auto"
    meta: bool = True
    dcd: bool = True

    def __post_init__(self) -> None:
        check_types(self)
        check_range(self, "temperature", above=0)
        for option in ("warmup", "lambda_boundary", "lambda_dice"):
            check_range(self, option, at_least=0)
        check_range(self, "boundary_ratio", above=0, below=1)
        check_range(self, "tau", above=0.5, below=1)
        check_range(self, "min_runner_up_probability", above=0, at_most=0.5)
        check_range(self, "gold_momentum", at_least=0, below=1)
        check_range(self, "meta_every", at_least=1)
        check_range(self, "edge_threshold", above=0, at_most=1)

    @property
    def info(self) -> MethodInfo:
        """What the method needs and costs with these options, after the warm-up."""
        return MethodInfo(
            needs_gold=self.meta or self.clean_supervision,
            supervises_gold=self.clean_supervision,
            passes=self._passes(),
            uses_edges=self.dcd,
            asks_gold=self.meta,
            warmup=self.warmup if self.meta else 0,
            keeps_weights=self.meta,
        )

    def _passes(self) -> float:
        """Count forward-equivalents: forward 1, backward 2, tangents 2."""
        passes = 3.0  # the training pass
        gold_pass = 3.0
        if not self.meta:
            return passes + (gold_pass if self.clean_supervision else 0.0)
        apart = self.cross_fit and self.clean_supervision
        if apart:
            gold_pass = 1.5  # in halves, each serves one purpose; with four turns 0.4 passes more in all
        meta_step = gold_pass + 2.0
        if self.virtual_step == "exact":
            # a backward pass, and a forward pass for the tangents, which otherwise ride along
            meta_step += 3.0
        passes += meta_step / self.meta_every
        passes += 1.0 if self.pseudo_labels == "ema" else 0.0
        shared = 1 / self.meta_every if self.virtual_step == "linearized" and not apart else 0.0
        return passes + (gold_pass * (1 - shared) if self.clean_supervision else 0.0)
