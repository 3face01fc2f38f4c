"""``python -m dagger_edge`` is ``dagger-edge``."""

from .cli.main import main

main()
