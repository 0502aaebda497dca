"""MADGNet's training of regions, distances and boundaries at four depths."""
