"""Showing a graph: as text, as a Mermaid flowchart, as SVG and as a self-contained HTML page."""

from .mermaid import to_mermaid
from .page import to_html
from .svg import growing_svg, to_svg
from .tree import to_text

__all__ = ["growing_svg", "to_html", "to_mermaid", "to_svg", "to_text"]
