"""Turn what an encoder gives for each token into the one embedding that the server reads.

A padded batch must give each text the same bits that it gets alone, so padding may only ever add
exact zeros, in an order that its amount does not change.
"""

from typing import Literal

import numpy as np
import onnx
from onnx import TensorProto, helper

from finesieve_export.graph import Graph

Pooling = Literal["mean", "cls", "last"]


def attach_pooling(model: onnx.ModelProto, pooling: Pooling, *, normalized: bool) -> None:
    """Replace the output (batch, tokens, dimension) by `embedding` (batch, dimension)."""
    graph = Graph(model, "head")
    [output] = [each for each in model.graph.output if "hidden" in each.name]
    hidden, dimension = output.name, output.type.tensor_type.shape.dim[-1].dim_value
    del model.graph.output[:]
    model.graph.output.append(
        helper.make_tensor_value_info("embedding", TensorProto.FLOAT, ["batch_size", dimension])
    )
    for node in graph.rewrite():
        graph.keep(node)
        if hidden in node.output:
            pooled = _POOL[pooling](graph, hidden)
            if normalized:
                pooled = _normalize(graph, pooled)
            graph.add("Identity", pooled, output="embedding")


def _mean(graph: Graph, hidden: str) -> str:
    # A running sum adds token after token. ReduceSum and MatMul group them by how many there are.
    mask = graph.add("Cast", "attention_mask", to=TensorProto.FLOAT)
    column = graph.add("Unsqueeze", mask, graph.add_constant([2], np.int64, "third"))
    running = graph.add(
        "CumSum", graph.add("Mul", hidden, column), graph.add_constant(1, np.int64, "tokens")
    )
    total = graph.add("Gather", running, graph.add_constant(-1, np.int64, "final"), axis=1)
    last = graph.add_constant([-1], np.int64, "last")
    return graph.add("Div", total, graph.add("ReduceSum", mask, last, keepdims=1))


def _first(graph: Graph, hidden: str) -> str:
    return graph.add("Gather", hidden, graph.add_constant(0, np.int64, "zero"), axis=1)


def _last(graph: Graph, hidden: str) -> str:
    last = graph.add_constant([-1], np.int64, "last")
    count = graph.add("ReduceSum", "attention_mask", last, keepdims=1)
    index = graph.add("Sub", count, graph.add_constant(1, np.int64, "one"))
    return graph.add("GatherND", hidden, index, batch_dims=1)


def _normalize(graph: Graph, pooled: str) -> str:
    last = graph.add_constant([-1], np.int64, "last")
    norm = graph.add("ReduceL2", pooled, last, keepdims=1)
    smallest = graph.add_constant(1e-12, np.float32, "smallest")
    return graph.add("Div", pooled, graph.add("Max", norm, smallest))


_POOL = {"mean": _mean, "cls": _first, "last": _last}
