"""The random order in which the cases of a role are shown."""

from itertools import zip_longest

import torch


def lane_order(count: int, lanes: int, generator: torch.Generator) -> list[int]:
    """Return rows in the random order of one pass.

    The rows are dealt into lanes, row modulo ``lanes``, and every lane is shuffled by itself; the first of
    every lane come first, then the second of every lane, and so on. Where batches have ``lanes`` images,
    each holds one of every lane; the last may lack some. A device which takes a fixed set of lanes so
    always draws the same images, and their weights need to live nowhere else. The price is small: two
    images of one lane never meet in a batch. One lane is a plain shuffle.

    Args:
        count: of rows.
        lanes: at least 1.
        generator: the only source of randomness.

    Returns:
        Every row from 0 to ``count - 1`` once.
    """
    dealt = [list(range(lane, count, lanes)) for lane in range(min(lanes, count))]
    shuffled = [[rows[i] for i in torch.randperm(len(rows), generator=generator).tolist()] for rows in dealt]
    return [row for rank in zip_longest(*shuffled) for row in rank if row is not None]
