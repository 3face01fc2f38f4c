"""Parts of docs/benchmarks.md: tables and pictures of the committed results. `document.py` puts them in."""
