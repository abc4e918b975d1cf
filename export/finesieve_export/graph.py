"""Rewrite an ONNX graph operator by operator. Knows ONNX, and nothing of models.

A rewrite takes the operators in order and puts each back, or others in its place:

    graph = Graph(model)
    for node in graph.rewrite():
        if node.op_type == "Dropout":
            graph.add("Identity", node.input[0], output=node.output[0])
        else:
            graph.keep(node)
"""

import math
from collections.abc import Iterator

import numpy as np
import onnx
from google.protobuf.message import EncodeError
from numpy.typing import ArrayLike, NDArray
from onnx import NodeProto, helper, numpy_helper

from finesieve_export.errors import ExportError

# The contrib domain of onnxruntime: operators that only it runs.
ONNXRUNTIME = "com.microsoft"


class Graph:
    """A model's graph under the knife. New names start with `prefix`."""

    def __init__(self, model: onnx.ModelProto, prefix: str) -> None:
        self.model = model
        self._prefix = prefix
        self._count = 0
        self._constants = {each.name: each for each in model.graph.initializer}
        self._fold_constant_nodes()

    def rewrite(self) -> Iterator[NodeProto]:
        """Yield every operator in order; whoever takes one keeps it or adds others instead."""
        nodes = list(self.model.graph.node)
        del self.model.graph.node[:]
        yield from nodes
        self._prune()

    def keep(self, node: NodeProto) -> None:
        self.model.graph.node.append(node)

    def add(
        self, op_type: str, *inputs: str, output: str = "", domain: str = "", **attributes: int
    ) -> str:
        """Append an operator with one output and return the output's name."""
        name = output or self._fresh(op_type)
        if domain and domain not in {each.domain for each in self.model.opset_import}:
            self.model.opset_import.append(helper.make_opsetid(domain, 1))
        node = helper.make_node(op_type, inputs, [name], name=name, domain=domain)
        node.attribute.extend(helper.make_attribute(key, each) for key, each in attributes.items())
        self.model.graph.node.append(node)
        return name

    def constant(self, name: str) -> NDArray[np.generic] | None:
        """Return the value behind a name, or None where it is computed at run time."""
        tensor = self._constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor)

    def add_constant(self, value: ArrayLike, dtype: type[np.generic], name: str = "") -> str:
        """Add a constant, or return the one that already has this name and value."""
        name = f"{self._prefix}/{name}" if name else self._fresh("constant")
        array = np.asarray(value, dtype)
        known = self.constant(name)
        if known is not None and not np.array_equal(known, array):
            name = self._fresh(name)  # one weight, read in two ways
        if name not in self._constants:
            tensor = numpy_helper.from_array(array, name)
            self.model.graph.initializer.append(tensor)
            self._constants[name] = self.model.graph.initializer[-1]
        return name

    def consumers(self, op_type: str) -> set[str]:
        """Return the names that operators of this type read. Not during a rewrite."""
        nodes = self.model.graph.node
        return {name for node in nodes if node.op_type == op_type for name in node.input}

    def _fresh(self, kind: str) -> str:
        self._count += 1
        return f"{self._prefix}/{kind}_{self._count}"

    def _fold_constant_nodes(self) -> None:
        for node in self.rewrite():
            value = next((each.t for each in node.attribute if each.name == "value"), None)
            if node.op_type != "Constant" or value is None:
                self.keep(node)
                continue
            value.name = node.output[0]
            self.model.graph.initializer.append(value)
            self._constants[value.name] = self.model.graph.initializer[-1]

    def _prune(self) -> None:
        """Drop operators and constants that nothing reads any more."""
        graph = self.model.graph
        needed = {each.name for each in graph.output}
        kept = []
        for node in reversed(graph.node):
            if needed.intersection(node.output):
                needed.update(node.input)
                kept.append(node)
        del graph.node[:]
        graph.node.extend(reversed(kept))
        constants = [each for each in graph.initializer if each.name in needed]
        del graph.initializer[:]
        graph.initializer.extend(constants)
        self._constants = {each.name: each for each in graph.initializer}


def serialize(model: onnx.ModelProto) -> bytes:
    """Return the model as one file's bytes, its internal value types dropped."""
    del model.graph.value_info[:]  # A rewrite makes them stale; onnxruntime infers them again.
    try:
        return bytes(model.SerializeToString(deterministic=True))
    except (ValueError, EncodeError) as error:
        raise ExportError(
            f"the model does not fit one file of 2 GB ({error}); try --precision int8, or a "
            "smaller model"
        ) from None


def weight_bytes(model: onnx.ModelProto) -> int:
    """Return how large the model's constants are."""
    return sum(
        math.prod(each.dims) * helper.tensor_dtype_to_np_dtype(each.data_type).itemsize
        for each in model.graph.initializer
    )
