"""Label-noise simulation: the paper's (eq. 15-20) and other kinds, calibrated to a rate."""
