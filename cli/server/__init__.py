"""``dagger-edge serve``: one model behind HTTP. Nothing of it is imported by other commands."""
