"""The export: a checkpoint becomes a bundle. Needs the ``export`` extra (torch, optimum-onnx)."""
