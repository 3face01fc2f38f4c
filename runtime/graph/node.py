"""One node of a graph, as a model writes it."""

from __future__ import annotations

import json
from typing import Literal

from msgspec import Struct

FINAL_ID = "final_result"

Number = int | float
Ties = Literal["even", "away"]


class Node(Struct, frozen=True, gc=False):
    """One node. ``const`` has ``val``; every other op has ``args``: ids of earlier nodes or literals."""

    id: str
    op: str
    val: int | float | None = None
    args: tuple[str | int | float, ...] | None = None
    distractor: bool = False
    label: str = ""

    def to_json(self) -> str:
        """The node on one line, keys in the order of the DAGGER prompt, without the key it does not have."""
        fields: dict[str, object] = {"id": self.id, "op": self.op}
        if self.val is not None:
            fields["val"] = self.val
        if self.args is not None:
            fields["args"] = self.args
        fields["distractor"] = self.distractor
        fields["label"] = self.label
        return json.dumps(fields, ensure_ascii=False, allow_nan=False)
