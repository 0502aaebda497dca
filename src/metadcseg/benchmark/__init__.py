"""Grids of experiments: read, run, held to equal conditions."""
