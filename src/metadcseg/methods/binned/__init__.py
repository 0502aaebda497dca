"""Weights that pixels share which look alike: ours, not the paper's."""
