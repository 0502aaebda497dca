"""The kinds of label noise by the names that commands and the Python interface know."""

from collections.abc import Callable

from metadcseg.errors import unknown_name
from metadcseg.noise.base import CenteredPaperNoise, NoiseModel, PaperNoise
from metadcseg.noise.careless import Careless
from metadcseg.noise.draws import nearest_preset
from metadcseg.noise.objects import Invented, Missing, Polygon
from metadcseg.noise.systematic import Annotator, Over, Shift, Under

MODELS: dict[str, Callable[[float], NoiseModel]] = {
    "paper": lambda rate: PaperNoise(nearest_preset(rate)),
    "paper-centred": lambda rate: CenteredPaperNoise(nearest_preset(rate)),
    "over": lambda rate: Over(),
    "under": lambda rate: Under(),
    "shift": lambda rate: Shift(),
    "missing": lambda rate: Missing(),
    "invented": lambda rate: Invented(),
    "polygon": lambda rate: Polygon(),
    "annotator": lambda rate: Annotator(),
    "careless": lambda rate: Careless(),
}
"""By name, what makes the noise for a corruption rate (only the paper's constants depend on it)."""


def noise_model(name: str, rate: float) -> NoiseModel:
    """Return the kind of noise of that name, with the constants meant for a corruption rate.

    Raises:
        InputError: where nobody knows the name.

    Example:
        >>> noise_model("paper", 0.35).preset, noise_model("over", 0.35).preset
        ('table-9-40', 'over-11-25')
    """
    if name not in MODELS:
        raise unknown_name("noise model", name, MODELS)
    return MODELS[name](rate)
