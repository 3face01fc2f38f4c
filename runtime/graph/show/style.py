"""How a drawing looks: sizes, and the style sheet for light and dark.

Plain rules, no variables: not only browsers read SVG. Every rule begins with ``.dg``, for in a page the style
of an SVG is everybody's.
"""

from __future__ import annotations

FONTS = (
    '"Noto Sans","Noto Sans Bengali",system-ui,-apple-system,"Segoe UI","Nirmala UI",'
    '"Kohinoor Bangla","Bangla Sangam MN",Vrinda,sans-serif'
)

ID_SIZE = 10.5
LABEL_SIZE = 13.5
EXPRESSION_SIZE = 12.5
VALUE_SIZE = 17.0
ANSWER_SIZE = 21.0
BENGALI_SIZE = 14.0

_LIGHT = {
    "page": "#ffffff", "ink": "#1b2430", "muted": "#5b6675",
    "given": "#eef4fd", "given-line": "#7ea3dc", "step": "#ffffff", "step-line": "#2f6bc4",
    "answer": "#0d7a52", "answer-line": "#085c3d", "answer-ink": "#ffffff", "answer-muted": "#d3f0e3",
    "edge": "#2f6bc4", "aside": "#fafafa", "aside-line": "#b3a79b", "aside-ink": "#6d655e", "aside-edge": "#c3b9ae",
    "lane": "#f6f3ef", "lane-line": "#ddd5cb", "warn": "#b4540a",
}  # fmt: skip
_DARK = {
    "page": "#14181e", "ink": "#e8edf3", "muted": "#9aa7b6",
    "given": "#1b2737", "given-line": "#4a6fa8", "step": "#1c222b", "step-line": "#6ba2f2",
    "answer": "#12805a", "answer-line": "#3fc492", "answer-ink": "#ffffff", "answer-muted": "#c4ecdb",
    "edge": "#6ba2f2", "aside": "#1c1b1a", "aside-line": "#6e655b", "aside-ink": "#a89f95", "aside-edge": "#5a534b",
    "lane": "#191817", "lane-line": "#37322d", "warn": "#f0a35a",
}  # fmt: skip


def _rules(colour: dict[str, str]) -> str:
    return "\n".join(
        f"{selector}{{{properties}}}"
        for selector, properties in (
            (".dg .dg-page", f"fill:{colour['page']}"),
            (".dg text", f"fill:{colour['ink']}"),
            (".dg .dg-muted", f"fill:{colour['muted']}"),
            (".dg .dg-step rect", f"fill:{colour['step']};stroke:{colour['step-line']}"),
            (".dg .dg-given rect", f"fill:{colour['given']};stroke:{colour['given-line']}"),
            (".dg .dg-answer rect", f"fill:{colour['answer']};stroke:{colour['answer-line']}"),
            (".dg .dg-answer text", f"fill:{colour['answer-ink']}"),
            (".dg .dg-answer .dg-muted", f"fill:{colour['answer-muted']}"),
            (".dg .dg-aside rect", f"fill:{colour['aside']};stroke:{colour['aside-line']}"),
            (".dg .dg-aside text,.dg .dg-aside .dg-muted", f"fill:{colour['aside-ink']}"),
            (".dg .dg-flagged rect", f"stroke:{colour['warn']}"),
            (".dg .dg-node .dg-warn,.dg .dg-warn", f"fill:{colour['warn']}"),
            (".dg .dg-answer .dg-warn", f"fill:{colour['answer-ink']}"),
            (".dg .dg-edge", f"stroke:{colour['edge']}"),
            (".dg .dg-head", f"fill:{colour['edge']}"),
            (".dg .dg-edge-aside", f"stroke:{colour['aside-edge']}"),
            (".dg .dg-head-aside", f"fill:{colour['aside-edge']}"),
            (".dg .dg-lane", f"fill:{colour['lane']};stroke:{colour['lane-line']}"),
        )
    )


STYLE = f"""
.dg{{font-family:{FONTS};font-variant-numeric:tabular-nums;color-scheme:light dark}}
.dg rect{{stroke-width:1.25}}
.dg .dg-page{{stroke:none}}
.dg .dg-step rect{{stroke-width:1.75}}
.dg .dg-answer rect{{stroke-width:2.5}}
.dg .dg-aside rect,.dg .dg-flagged rect{{stroke-dasharray:5 4}}
.dg .dg-lane{{stroke-dasharray:2 5}}
.dg path{{stroke-linecap:round}}
.dg .dg-edge{{fill:none;stroke-width:2.25}}
.dg .dg-edge-aside{{fill:none;stroke-width:1.5;stroke-dasharray:4 5}}
.dg .dg-id{{font-size:{ID_SIZE}px}}
.dg .dg-end{{text-anchor:end}}
.dg .dg-label{{font-size:{LABEL_SIZE}px;font-weight:600}}
.dg .dg-expression{{font-size:{EXPRESSION_SIZE}px}}
.dg .dg-value{{font-size:{VALUE_SIZE}px;font-weight:700}}
.dg .dg-answer .dg-value{{font-size:{ANSWER_SIZE}px}}
.dg .dg-bengali{{font-size:{BENGALI_SIZE}px}}
.dg .dg-aside .dg-label,.dg .dg-aside .dg-value{{font-weight:500}}
{_rules(_LIGHT)}
@media screen and (prefers-color-scheme:dark){{
{_rules(_DARK)}
}}
"""
