"""From which expected gain on a mask is corrected, told by pairs: how often correction made a verified image worse."""

from collections.abc import Sequence

import numpy as np

HARM = 3.0
"""What a loss of DSC weighs beside a gain: whoever corrects a mask must not spoil it."""

ERROR = 0.5
"""Of the error of expected gains, which gain is as good as none."""


def fit_margin(expected: Sequence[float], true: Sequence[float]) -> float:
    """Return the expected gain in DSC above which a mask is corrected, at least 0.

    Of all limits the one by which the true gains of the pairs sum to most, losses counted ``HARM`` times. It lies
    between the expected gain of the last pair that is left alone and of the first that is corrected, at their
    geometric mean; where it is best to correct none, at the largest. At the least it is ``ERROR`` times the root mean
    square of expected minus true gain: a smaller one may as well be none.

    Args:
        expected: gain of every pair, as it was expected of it.
        true: likewise, what correction gained.

    Example:
        >>> fit_margin([0.2, 0.3], [0.2, 0.3])  # always as good as expected
        0.0
        >>> round(fit_margin([0.2, 0.3], [0.3, 0.2]), 6)  # off by 0.1
        0.05
        >>> round(fit_margin([0.01, 0.04, 0.16], [-0.01, -0.03, 0.16]), 6)  # right masks are made worse
        0.08
        >>> fit_margin([0.01, 0.04], [-0.01, -0.03])
        0.04
    """
    gains, truly = np.array(expected, np.float64), np.array(true, np.float64)
    if not len(gains):
        return 0.0
    least = ERROR * float(np.sqrt(np.mean((gains - truly) ** 2)))
    order = np.argsort(gains, kind="stable")
    order = order[gains[order] > 0]
    gains, worth = gains[order], np.where(truly < 0, HARM * truly, truly)[order]
    left = int(np.argmax([*worth[::-1].cumsum()[::-1], 0.0]))  # so many are left alone
    if left == 0:
        return least
    return max(least, float(gains[-1] if left == len(gains) else np.sqrt(gains[left - 1] * gains[left])))
