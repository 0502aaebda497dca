"""Trained networks for other programs: as ONNX with a runner that needs neither torch nor this package."""
