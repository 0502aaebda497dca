"""The paper's noise on one mask, through the functions that sets are corrupted with."""

from dataclasses import asdict

from metadcseg.noise.base import PaperNoise, corrupt, draw_mask
from metadcseg.noise.draws import NoiseDraw


def draws_for(level, seed, image_id, classes):
    """The draws of one image, one for each foreground class."""
    return tuple(NoiseDraw(**one) for one in draw_mask(PaperNoise(level), seed, image_id, classes))


def apply(mask, draws, level):
    """A mask corrupted as drawn, at the level's own kernel scale."""
    return corrupt(mask, [asdict(one) for one in draws], PaperNoise(level), level.scale)
