"""Fuse attention, normalisation and activation into onnxruntime's own operators, for GPUs.

onnxruntime's transformer optimizer finds them, in the graphs of BERT, RoBERTa and XLM-R whole; in
others (DistilBERT, MPNet, ModernBERT) attention stays as it was traced, and the rest is fused.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import onnx
from onnx import TensorProto, helper

from finesieve_export.errors import ExportError
from finesieve_export.graph import ONNXRUNTIME, Graph


def fuse(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the float32 model with what can be fused in it fused."""
    from onnxruntime.transformers.optimizer import optimize_model

    with _quiet():
        # Level 0: its patterns are matched in Python, and onnxruntime rewrites nothing before.
        fused: onnx.ModelProto = optimize_model(model, model_type="bert", opt_level=0).model
    if ONNXRUNTIME not in {each.domain for each in fused.opset_import}:
        fused.opset_import.append(helper.make_opsetid(ONNXRUNTIME, 1))
    return fused


def remove_padding(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the fused model with no padding between its first and its last layer; CUDA only."""
    from onnxruntime.transformers.convert_to_packing_mode import PackingMode
    from onnxruntime.transformers.onnx_model import OnnxModel

    packed = OnnxModel(model)
    with _quiet():
        PackingMode(packed).convert(use_symbolic_shape_infer=False)
    if not fused_operators(packed.model).get("PackedAttention"):
        raise ExportError(
            "padding cannot be removed from this architecture: onnxruntime fuses no attention in "
            "it; convert it without --packing"
        )
    result: onnx.ModelProto = packed.model
    return result


def tell_key_lengths(model: onnx.ModelProto) -> None:
    """Give attention its mask in the form that a memory-efficient kernel reads, in place.

    The optimizer masks by one length a row. onnxruntime's kernels for that form know no card newer
    than compute capability 8.9, and it then falls back to unfused attention. Lengths followed by
    where each row's queries and keys start (rows + 1 multiples of the padded length, twice) are
    read by its CUTLASS kernel on any card; on a CPU both mean the same.
    """
    graph = Graph(model, "fused")
    masks: dict[str, str] = {}
    for node in graph.rewrite():
        if node.op_type == "Attention" and len(node.input) > 3 and node.input[3]:
            lengths = node.input[3]
            if lengths not in masks:
                starts = _row_starts(graph)
                masks[lengths] = graph.add("Concat", lengths, starts, starts, axis=0)
            node.input[3] = masks[lengths]
        graph.keep(node)


def fused_operators(model: onnx.ModelProto) -> Mapping[str, int]:
    """Return how many there are of each operator that only onnxruntime has."""
    return dict(Counter(n.op_type for n in model.graph.node if n.domain == ONNXRUNTIME))


def _row_starts(graph: Graph) -> str:
    """Return 0, tokens, 2 * tokens, ... rows * tokens, as int32."""
    shape = graph.add("Shape", "input_ids")
    zero, one = (graph.add_constant(value, np.int64, str(value)) for value in (0, 1))
    rows, tokens = graph.add("Gather", shape, zero), graph.add("Gather", shape, one)
    behind = graph.add("Add", graph.add("Mul", rows, tokens), one)
    return graph.add("Cast", graph.add("Range", zero, behind, tokens), to=TensorProto.INT32)


@contextmanager
def _quiet() -> Iterator[None]:
    """Leave out what the optimizer logs: the manifest says what it found."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)
