"""The runtime: bundle, session, prompt, decoding, graph. Needs onnxruntime, tokenizers, numpy; never torch."""
