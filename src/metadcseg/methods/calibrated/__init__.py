"""Trust calibrated on pairs of verified masks and those that they replaced: ours, not the paper's."""
