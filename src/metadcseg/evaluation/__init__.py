"""How good a trained network is: metrics, per-case records, predictions."""
