"""One node of a graph, as a model writes it."""

from __future__ import annotations

import json
from typing import Literal

from msgspec import Struct
from msgspec.structs import astuple

FINAL_ID = "final_result"

Number = int | float
Ties = Literal["even", "away"]


class Node(Struct, frozen=True, gc=False, eq=False):
    """One node.

    Attributes:
        id: unique in its graph, not empty.
        op: a name of docs/graph.md.
        val: the number of a ``const``, finite and of at most 40 digits; None for every other op.
        args: what every other op has, at most 64: ids of earlier nodes, or literals (numbers, or strings that are
            numbers of JSON and no node's id).
        distractor: the model's claim that the answer does not need the node. Changes no number.
        label: free text, Bengali as a rule.
    """

    id: str
    op: str
    val: int | float | None = None
    args: tuple[str | int | float, ...] | None = None
    distractor: bool = False
    label: str = ""

    # By hand, since those of msgspec tell apart a node and one of a class that derives from it.
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and astuple(self) == astuple(other)

    def __hash__(self) -> int:
        return hash(astuple(self))

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
