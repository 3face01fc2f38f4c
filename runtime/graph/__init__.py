"""The graph language: reading, checking and executing computational graphs. Knows nothing of models."""
