"""Work on many rows, so that a kill loses none and repeats none. Knows nothing of models or of formats of files."""
