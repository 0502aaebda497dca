"""The folder of a run: identity, checkpoints, weights, and how it goes on."""
