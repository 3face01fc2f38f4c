"""The export: a checkpoint becomes a bundle. Needs the ``export`` extra (torch, transformers, optimum-onnx)."""
