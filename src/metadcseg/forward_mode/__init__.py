"""The derivative of a network's output in one direction of its parameters."""
