"""What is asked about a case: a network, as a function of its images."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from metadcseg.audit.probability import Maps
from metadcseg.audit.units import Unit, refuse_incomplete
from metadcseg.data.store.content import clean_content_of, identity_of
from metadcseg.data.store.reader import PreparedSet
from metadcseg.evaluation.evaluate import check_fit
from metadcseg.evaluation.predict import Predict, load_predictor, probabilities_of_stack
from metadcseg.results.records import same_content
from metadcseg.training.run.folder import TrainedRun


class CasePredictor(Protocol):
    """A network that says how probable each class is."""

    @property
    def name(self) -> str:
        """As ``audit.json`` says it."""
        ...

    @property
    def seen_in_training(self) -> bool:
        """Whether it was trained on the training masks of the set that it judges."""
        ...

    @property
    def pairs_seen_in_training(self) -> bool:
        """Whether it was trained on the verified masks of the pairs."""
        ...

    @property
    def load(self) -> Callable[[], "CasePredictor"]:
        """What loads it in another process."""
        ...

    def of(self, unit: Unit) -> Iterator[Maps]:
        """Yield the class probabilities of every slice of a case, (L, H, W) float32."""
        ...


@dataclass(frozen=True)
class OwnNetwork:
    """The network of the run itself, at the weights that did best on validation.

    Args:
        trained: the run.
        predict: its network.
        prepared: the set.
        load: loads it again, also in another process.
        seen_in_training: whether it was trained on this set.
        pairs_seen_in_training: whether gold of this set had a part in its training.
    """

    trained: TrainedRun
    predict: Predict
    prepared: PreparedSet
    load: Callable[[], "OwnNetwork"]
    seen_in_training: bool
    pairs_seen_in_training: bool

    @property
    def name(self) -> str:
        """Whether the weights are those of the EMA model."""
        return "own EMA" if self.trained.info["training"].get("ema_decay") else "own"

    def of(self, unit: Unit) -> Iterator[Maps]:
        """Yield the class probabilities of every slice of a case, (L, H, W) float32, at its own size."""
        refuse_incomplete([unit], self.trained.grid)
        normalized = self.prepared.preprocessing is not None
        images = [self.prepared.image(case) for case in unit.cases]
        found = probabilities_of_stack(self.predict, images, self.trained.grid, normalized=normalized)
        return (maps.numpy() for maps in found)


def own_network(
    run: Path, prepared: PreparedSet, device: str | None, *, trust_code: bool = False
) -> OwnNetwork:
    """Load the network of a run to be asked about a set.

    Raises:
        InputError: where run and set do not fit together, or the run names a class without ``trust_code``.
    """
    trained, predict = load_predictor(run, device, trust_code=trust_code)
    check_fit(trained, prepared)
    load = partial(own_network, run, prepared, device, trust_code=trust_code)
    told = trained.info["set"]
    # another split, or corrected masks, of a set keep its name: most of it was trained on
    seen = same_content(told, identity_of(prepared)) or told.get("name") == prepared.name
    same_gold = seen or told.get("clean_content") == clean_content_of(
        prepared
    )  # of a set, and of noise on it
    return OwnNetwork(trained, predict, prepared, load, seen, same_gold and trained.method.info.needs_gold)
