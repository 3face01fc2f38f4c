"""dagger-edge: DAGGER's Bengali word problem solver on onnxruntime, without PyTorch."""

__version__ = "0.1.0"
