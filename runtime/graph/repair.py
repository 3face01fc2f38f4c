"""Reading what a model wrote: strictly where it can be, else with lossless fixes, else not at all.

A fix never changes a number, drops a node or invents one; each is named. What would need a guess is refused.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from .check import check_graph
from .errors import GraphParseError, GraphStructureError, quote
from .lenient import Written, load
from .node import FINAL_ID, Node
from .numerals import decimal_value, read_number, read_written_number
from .ops import OPS, canonical_name
from .parse import decode_text, encode_text, read_nodes
from .schema import Fix, Graph, Reading
from .structure import MAX_ARGS, MAX_NODES

MAX_FIXES = 1024

_FINAL_NAMES = frozenset({"final", "result", "answer", "output", "final_answer", FINAL_ID})


def read(text: str | bytes) -> Reading:
    """The graph that ``text`` holds, and at which level it was read.

    Args:
        text: what a model wrote, as a string or in UTF-8: at most 64 KiB, 256 nodes, 64 arguments a node, 40 digits a
            number, 1,024 things to mend.

    Raises:
        GraphParseError: (GraphStructureError among them) no lossless fix makes it a graph, with node, field and
            reason: text that was cut off, a number that would have to be guessed, a cycle, an unknown id or op, a
            wrong number of arguments, none or several candidates for the answer.
    """
    data = encode_text(text)
    try:
        return Reading(Graph.parse(data), "strict")
    except GraphParseError:
        return _Repair().read(decode_text(data))


@dataclass(slots=True)
class _Repair:
    """The fixes made so far, in the order in which they were made, and the codes of those of the text."""

    fixes: list[Fix] = field(default_factory=list)
    noted: set[str] = field(default_factory=set)

    def read(self, text: str) -> Reading:
        """Mend ``text`` into a graph that can be run. Raises GraphParseError."""
        document = load(text, self._note_text)
        if isinstance(document, list):
            self._note_text("node_list", 'a bare list of nodes, without {"nodes": ...}')
            document = {"nodes": document}
        items = document.get("nodes")
        if isinstance(items, list):
            document = {**document, "nodes": self._mend_items(items)}
        graph = Graph(tuple(self._merge(read_nodes(document))))
        graph = self._name_final(graph)
        graph = self._sort(graph)
        check_graph(graph)
        return Reading(graph, "repaired", tuple(self.fixes))

    def _note_text(self, code: str, message: str) -> None:
        if code not in self.noted:
            self.noted.add(code)
            self.fixes.append(Fix(code, "", message))

    def _note(self, code: str, node: str, message: str) -> None:
        if len(self.fixes) == MAX_FIXES:
            raise GraphParseError(f"more than {MAX_FIXES} things to mend: this is no graph that a model wrote")
        self.fixes.append(Fix(code, node, message))

    def _mend_items(self, items: list[Any]) -> list[Any]:
        if len(items) > MAX_NODES:
            raise GraphStructureError(f"{len(items)} nodes; at most {MAX_NODES}", field="nodes")
        taken = _ids(items)
        lifted = [node for item in items for node in self._lift(item, taken)]
        ids = _ids(lifted)
        return [self._mend_node(item, ids) if isinstance(item, dict) else item for item in lifted]

    def _lift(self, item: Any, taken: set[str]) -> Iterator[Any]:
        """``item`` with the nodes inside its arguments, innermost first, each a node of its own."""
        if isinstance(item, dict) and isinstance(item.get("args"), list):
            args = list(item["args"])
            if len(args) > MAX_ARGS:
                name = str(item.get("id"))
                raise GraphStructureError(f"{len(args)} arguments; at most {MAX_ARGS}", node=name, field="args")
            for place, arg in enumerate(args):
                if isinstance(arg, dict):
                    name = arg.get("id") or _new_id(f"{item.get('id')}_{place + 1}", taken)
                    taken.add(str(name))
                    yield from self._lift({**arg, "id": name}, taken)
                    args[place] = name
                    self._note("inline_node", str(name), "written inside another node's arguments")
            item = {**item, "args": args}
        yield item

    def _mend_node(self, item: dict[str, Any], ids: set[str]) -> dict[str, Any]:
        name = item["id"] if isinstance(item.get("id"), str) else ""
        mended = self._mend_op(name, self._drop_empty(name, item))
        if isinstance(mended.get("args"), list):
            mended["args"] = [self._mend_arg(name, arg, ids) for arg in mended["args"]]
        if isinstance(mended.get("val"), str | Written):
            self._mend_value(name, mended)
        return mended

    def _drop_empty(self, name: str, item: dict[str, Any]) -> dict[str, Any]:
        """``item`` without the fields that say nothing: a null, or the empty list of a const."""
        kept = {key: value for key, value in item.items() if value is not None or key in {"id", "op"}}
        if kept.get("args") == [] and "val" in kept:
            del kept["args"]
        for key in (key for key in item if key not in kept):
            self._note("empty_field", name, f"{quote(key)} was there without a value")
        return kept

    def _mend_op(self, name: str, item: dict[str, Any]) -> dict[str, Any]:
        op = item.get("op")
        if not isinstance(op, str) or op in OPS:
            return item
        meant = canonical_name(op)
        if meant is None:
            return item
        self._note("op_name", name, f"{quote(op)} is {meant}")
        return {**item, "op": meant}

    def _mend_arg(self, name: str, arg: Any, ids: set[str]) -> Any:
        if not isinstance(arg, str | Written) or arg in ids:
            return arg
        text = arg.text if isinstance(arg, Written) else arg
        if isinstance(arg, str) and _is_literal(arg):
            return arg
        try:
            value = decimal_value(read_written_number(text))
        except ValueError as error:
            raise GraphParseError(f"{quote(text)} is no node id, and {error}", node=name, field="args") from None
        if value is None:
            hint = "a div node says it exactly" if "/" in text else "no double holds it"
            reason = f"{quote(text)} is no number that can stand here: {hint}"
            raise GraphParseError(reason, node=name, field="args")
        self._note("number_text", name, f"argument {quote(text)} is {value}")
        return value

    def _mend_value(self, name: str, item: dict[str, Any]) -> None:
        """Put a number where ``val`` is text. A fraction without a finite decimal becomes a division."""
        text = item["val"].text if isinstance(item["val"], Written) else item["val"]
        try:
            exact = read_written_number(text)
        except ValueError as error:
            raise GraphParseError(f"{quote(text)}: {error}", node=name, field="val") from None
        value = decimal_value(exact)
        if value is not None:
            item["val"] = value
        elif item.get("op") == "const" and "/" in text and "args" not in item:
            del item["val"]
            item |= {"op": "div", "args": [exact.numerator, exact.denominator]}
        else:
            raise GraphParseError(f"{quote(text)} is a number that no double holds", node=name, field="val")
        self._note("number_text", name, f"{quote(text)} is {exact if value is None else value}")

    def _merge(self, nodes: tuple[Node, ...]) -> Iterator[Node]:
        """``nodes`` without exact repetitions. Another meaning under the same id is for the check to refuse."""
        seen: dict[str, Node] = {}
        for node in nodes:
            if node.id in seen and replace(node, label="") == replace(seen[node.id], label=""):
                self._note("duplicate_node", node.id, "the same node was written twice")
                continue
            seen.setdefault(node.id, node)
            yield node

    def _name_final(self, graph: Graph) -> Graph:
        """``graph`` with its answer named ``final_result``, where one node is clearly it."""
        if any(node.id == FINAL_ID for node in graph.nodes) or not graph.nodes:
            return graph
        answer = _answer_node(graph)
        self._note("final_result", FINAL_ID, f"{quote(answer.id)} is taken for it")
        return Graph(tuple(_renamed(node, answer.id) for node in graph.nodes))

    def _sort(self, graph: Graph) -> Graph:
        """``graph`` in topological order, as it is where it can be. Raises GraphStructureError for a cycle."""
        if len(graph.nodes) > MAX_NODES or len({node.id for node in graph.nodes}) < len(graph.nodes):
            return graph
        ordered = Graph(tuple(_topological(graph)))
        if ordered != graph:
            self._note("order", "", "nodes stood before their arguments")
        return ordered


def _is_literal(arg: str) -> bool:
    """Whether the language itself takes ``arg`` as a number."""
    try:
        read_number(arg)
    except ValueError:
        return False
    return True


def _ids(items: list[Any]) -> set[str]:
    return {item["id"] for item in items if isinstance(item, dict) and isinstance(item.get("id"), str)}


def _new_id(wanted: str, taken: set[str]) -> str:
    while wanted in taken:
        wanted += "_"
    return wanted


def _answer_node(graph: Graph) -> Node:
    """The one node that is the answer: by its name, else because nothing uses it."""
    used = {arg for node in graph.nodes for arg in node.args or ()}
    ends = [node for node in graph.nodes if node.id not in used and not node.distractor]
    named = [node for node in ends if node.id.strip().lower() in _FINAL_NAMES]
    candidates = named or ends
    if len(candidates) != 1:
        count = "no node" if not candidates else f"{len(candidates)} nodes"
        raise GraphStructureError(f"no node has the id {quote(FINAL_ID)}, and {count} could be it", field="nodes")
    return candidates[0]


def _renamed(node: Node, old: str) -> Node:
    return replace(node, id=FINAL_ID) if node.id == old else node


def _topological(graph: Graph) -> Iterator[Node]:
    """The nodes, each behind its arguments, the final result last, else as they stand."""
    place = {node.id: index for index, node in enumerate(graph.nodes)}
    sources = [{place[arg] for arg in node.args or () if isinstance(arg, str) and arg in place} for node in graph.nodes]
    users: list[list[int]] = [[] for _ in graph.nodes]
    for index, needed in enumerate(sources):
        for source in needed:
            users[source].append(index)
    final = place.get(FINAL_ID)
    if final is not None and users[final]:
        user = graph.nodes[users[final][0]].id
        raise GraphStructureError(f"{quote(user)} uses it, so it cannot be last", node=FINAL_ID, field="id")
    waiting = [len(needed) for needed in sources]
    ready = [(index == final, index) for index, count in enumerate(waiting) if count == 0]
    heapq.heapify(ready)
    done = 0
    while ready:
        _, index = heapq.heappop(ready)
        done += 1
        yield graph.nodes[index]
        for user_index in users[index]:
            waiting[user_index] -= 1
            if waiting[user_index] == 0:
                heapq.heappush(ready, (user_index == final, user_index))
    if done < len(graph.nodes):
        stuck = next(node for node, count in zip(graph.nodes, waiting, strict=True) if count)
        raise GraphStructureError("its arguments depend on it: a cycle", node=stuck.id, field="args")
