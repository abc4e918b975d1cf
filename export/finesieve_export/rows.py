"""Carry activations from product to product as rows, one for each token.

Traced graphs keep (batch, tokens, features) throughout. A product with constant weights has no use
for the first two axes, nor has what is done element by element or row by row: bias, activation,
residual, layer norm. Here these run on (rows, features), and only what needs the axes (attention,
pooling) gets them back. The arithmetic stays as it is. Knows ONNX, and nothing of models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from onnx import NodeProto, helper

from finesieve_export.graph import Graph

_ELEMENTWISE = {"Add", "Sub", "Mul", "Div", "Erf", "Gelu", "Relu", "Sigmoid", "Tanh"}


def carry_rows(model: onnx.ModelProto) -> Mapping[str, str]:
    """Run products with constant weights, and what lies between them, on rows; in place.

    Return a key for each activation on rows; those of one key have as many rows.
    """
    carrier = _Carrier(model)
    carrier.run()
    return carrier.keys()


@dataclass(frozen=True, slots=True)
class _Rows:
    """An activation as rows, and how to get its axes back."""

    name: str  # (rows, features)
    features: int
    origin: int  # number of an activation whose axes, but for the last, are the same


class _Carrier:
    def __init__(self, model: onnx.ModelProto) -> None:
        self._graph = Graph(model, "rows")
        self._rows: dict[str, _Rows] = {}
        self._waiting: set[str] = set()  # activations that so far are there as rows only
        self._shapes: dict[tuple[int, int], str] = {}
        self._parts: dict[str, Sequence[str]] = {}  # of a computed shape
        self._reshaped: dict[str, str] = {}  # what a reshape read
        self._origins: list[str] = []  # by number, in the order in which they come
        self._earlier: dict[int, int] = {}  # of two origins that a residual joins
        self._outputs = {each.name for each in model.graph.output}

    def run(self) -> None:
        self._normalized = self._graph.consumers("LayerNormalization")
        for node in self._graph.rewrite():
            if self._is_product(node):
                self._product(node)
            elif rows := self._row_wise(node):
                self._apply(node, rows)
            else:
                self._with_axes(node)
            for name in self._outputs.intersection(node.output):
                self._restore(name)

    def keys(self) -> dict[str, str]:
        return {each.name: self._origins[self._first(each.origin)] for each in self._rows.values()}

    def _is_product(self, node: NodeProto) -> bool:
        weight = self._graph.constant(node.input[1]) if node.op_type == "MatMul" else None
        return weight is not None and weight.ndim == 2

    def _product(self, node: NodeProto) -> None:
        weight = self._graph.constant(node.input[1])
        assert weight is not None
        rows = self._flat(node.input[0], weight.shape[0])
        self._put(node, [rows.name, node.input[1]], weight.shape[1], rows.origin)

    def _row_wise(self, node: NodeProto) -> list[_Rows]:
        """Return the rows that the operator reads, or none where it needs the axes."""
        constants = [self._graph.constant(name) for name in node.input]
        activations = [
            name for name, value in zip(node.input, constants, strict=True) if value is None
        ]
        rows = [self._rows[name] for name in activations if name in self._rows]
        if not rows or any(value is not None and value.ndim > 1 for value in constants):
            return []
        if node.op_type == "LayerNormalization":
            axes = [each.i for each in node.attribute if each.name == "axis"]
            return rows if axes in ([], [-1]) and len(node.output) == 1 else []
        if node.op_type not in _ELEMENTWISE:
            return []
        if len(rows) == len(activations) and len({self._first(each.origin) for each in rows}) == 1:
            return rows
        if node.op_type == "Add" and node.output[0] in self._normalized:
            # A residual: both have the same axes. Where a graph broadcasts one, (1, tokens, width),
            # rows do so for a batch of one, and are as many as cannot be added for any other:
            # parity, which runs batches of several, then fails, and no wrong score is ever served.
            return [self._flat(name, rows[0].features) for name in activations]
        return []

    def _apply(self, node: NodeProto, rows: Sequence[_Rows]) -> None:
        origins = {self._first(each.origin) for each in rows}
        first = min(origins)
        self._earlier.update((origin, first) for origin in origins - {first})
        inputs = [self._rows[name].name if name in self._rows else name for name in node.input]
        self._put(node, inputs, max(each.features for each in rows), first)

    def _first(self, origin: int) -> int:
        while origin in self._earlier:
            origin = self._earlier[origin]
        return origin

    def _with_axes(self, node: NodeProto) -> None:
        if node.input and node.input[0] in self._waiting:
            rows = self._rows[node.input[0]]
            if node.op_type == "Shape" and not node.attribute:
                self._graph.add("Identity", self._shape(rows), output=node.output[0])
                return
            if node.op_type == "Reshape" and self._says_all_axes(node.input[1]):
                node.input[0] = rows.name
        for name in node.input:
            self._restore(name)
        self._graph.keep(node)
        if node.op_type == "Concat":
            self._parts[node.output[0]] = node.input
        elif node.op_type == "Reshape":
            self._reshaped[node.output[0]] = node.input[0]

    def _says_all_axes(self, shape: str) -> bool:
        """Tell whether a reshape to this shape takes no axis from its input, as a 0 would."""
        values = [self._graph.constant(name) for name in self._parts.get(shape, [shape])]
        if shape not in self._parts and values[0] is None:
            return False
        return all(value is None or bool(np.all(value)) for value in values)

    def _put(self, node: NodeProto, inputs: Sequence[str], features: int, origin: int) -> None:
        output = f"rows/{node.output[0]}"
        on_rows = helper.make_node(node.op_type, inputs, [output], name=output, domain=node.domain)
        on_rows.attribute.extend(node.attribute)
        self._graph.keep(on_rows)
        self._rows[node.output[0]] = _Rows(output, features, origin)
        self._waiting.add(node.output[0])

    def _flat(self, name: str, features: int) -> _Rows:
        if name not in self._rows:
            shape = self._graph.add_constant([-1, features], np.int64, f"flat_{features}")
            flat = self._graph.add("Reshape", self._reshaped.get(name, name), shape)
            self._rows[name] = _Rows(flat, features, len(self._origins))
            self._origins.append(name)
        return self._rows[name]

    def _restore(self, name: str) -> None:
        if name in self._waiting:
            self._waiting.remove(name)
            rows = self._rows[name]
            self._graph.add("Reshape", rows.name, self._shape(rows), output=name)

    def _shape(self, rows: _Rows) -> str:
        origin = self._first(rows.origin)
        key = (origin, rows.features)
        if key not in self._shapes:
            features = self._graph.add_constant([rows.features], np.int64, f"{rows.features}")
            leading = self._graph.add("Shape", self._origins[origin], end=-1)
            self._shapes[key] = self._graph.add("Concat", leading, features, axis=0)
        return self._shapes[key]
