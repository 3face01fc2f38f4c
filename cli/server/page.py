"""The page at ``/``: one HTML document with its style and its script in it, and the policy that allows just these."""

from __future__ import annotations

from importlib import resources
from typing import NamedTuple, Self

from ...runtime.graph.show.page import PAGE_STYLE, policy_source
from ...runtime.graph.show.style import STYLE

_FOLDER = resources.files(__package__) / "web"


class Page(NamedTuple):
    """A page that loads nothing, from nowhere, and speaks with the server that it came from."""

    html: str
    policy: str

    @classmethod
    def make(cls) -> Self:
        """The page of the files in this package."""
        style, script = PAGE_STYLE + _text("page.css"), _text("page.js")
        html = _text("page.html").replace("/*style*/", style).replace("/*script*/", script)
        # STYLE is that of drawings.
        allowed = {
            "default-src": ["'none'"],
            "style-src": [policy_source(style), policy_source(STYLE)],
            "script-src": [policy_source(script)],
            "connect-src": ["'self'"],
            "img-src": ["data:"],
            "base-uri": ["'none'"],
            "form-action": ["'none'"],
            "frame-ancestors": ["'none'"],
        }
        return cls(html, "; ".join(" ".join([name, *sources]) for name, sources in allowed.items()))


def _text(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
