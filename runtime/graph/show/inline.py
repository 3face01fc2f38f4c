"""A picture within a page."""

from __future__ import annotations

import re

_ID = re.compile(r'\b(id|aria-labelledby)="([^"]*)"')
_REFERENCE = re.compile(r'(url\(#|href="#)')


def inline_svg(svg: str, prefix: str) -> str:
    """The SVG document ``svg`` without its head, its ids its own: each begins with ``prefix``."""
    body = svg[svg.index("<svg") :]
    body = _ID.sub(lambda found: f'{found[1]}="{" ".join(prefix + name for name in found[2].split())}"', body)
    return _REFERENCE.sub(rf"\g<1>{prefix}", body)
