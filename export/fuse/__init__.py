"""Fusing: the traced skeleton becomes the graph that onnxruntime runs best.

Every rewrite is anchored on module-scoped node names and matches the traced nodes to the last constant; scale,
window and rotary frequencies are read from the trace, not assumed. What does not match is an error.
"""
