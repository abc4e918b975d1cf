"""Make a float32 graph int8, with scores that do not depend on the batch.

Ordinary dynamic int8 gives an activation tensor one scale, the largest magnitude anywhere in the
batch: a score moves with its company. Here every token has a scale of its own,

    s = max |x| / 127        q = round(x / s) + 128        (one s for each row of x; q is uint8)
    x W  ~  s * (q - 128) (Wq * w)                         (one w for each column of W; Wq is int8)

The integer product is exact in any order, and all else is done element by element, so a row's
result has the same bits whatever rows stand beside it. The float operators that remain (attention
between activations, softmax, layer norm) keep a row's bits in onnxruntime too, which
`finesieve-export invariance` measures.

Weights use the levels -64..64. x86 before VNNI adds two uint8 x int8 products in 16 bits, and
255 * 64 * 2 is the most that fits: every machine then has the same integers. On MiniLM the finer
-127..127 moves logits by 0.06 instead of 0.07 on average, of a deviation of 2.3.

Source of per-token scales: Yao et al. 2022, ZeroQuant, arXiv:2206.01861.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto

from finesieve_export.graph import ONNXRUNTIME, Graph
from finesieve_export.rows import carry_rows

_ZERO_POINT = 128  # of activations: uint8 x int8 is what x86 multiplies fast
_LARGEST_WEIGHT = 64
_SMALLEST_TABLE = 1 << 16  # segments and relative positions are worth their few bytes
_TINIEST = 1e-30  # a row of zeros must not divide by zero

Floats = NDArray[np.float32]


def quantize(model: onnx.ModelProto) -> None:
    """Replace products with constant weights, and embedding tables, by int8 ones, in place."""
    row_keys = carry_rows(model)
    _Quantizer(model, row_keys).run()


@dataclass(frozen=True, slots=True)
class _Int8Rows:
    """An activation as int8 rows, one for each token."""

    levels: str  # uint8, (tokens, features)
    scales: str  # float32, (tokens, 1)


class _Quantizer:
    def __init__(self, model: onnx.ModelProto, row_keys: Mapping[str, str]) -> None:
        self._graph = Graph(model, "int8")
        self._row_keys = row_keys
        self._rows: dict[str, _Int8Rows] = {}
        self._zero_points: dict[str, str] = {}
        self._products: set[str] = set()

    def run(self) -> None:
        normalized = self._graph.consumers("LayerNormalization")
        for node in self._graph.rewrite():
            match node.op_type:
                case "MatMul" if (weight := self._weight(node.input[1])) is not None:
                    self._product(node.input[0], node.input[1], weight, node.output[0])
                case "Gemm" if (weight := self._weight(node.input[1])) is not None:
                    self._gemm(node, weight)
                case "Gather" if (table := self._weight(node.input[0])) is not None:
                    self._lookup(node, table)
                case "Add" if node.output[0] in normalized or self._products & {*node.input}:
                    # As `Add`, onnxruntime would fuse it into SkipLayerNormalization or BiasGelu,
                    # slower on a CPU than the two apart (docs/benchmarks, CPU kernels).
                    self._graph.add("Sum", *node.input, output=node.output[0])
                case _:
                    self._graph.keep(node)

    def _weight(self, name: str) -> Floats | None:
        """Return a constant float matrix, or None for anything else."""
        value = self._graph.constant(name)
        if value is None or value.dtype != np.float32 or value.ndim != 2:
            return None
        return value.astype(np.float32, copy=False)

    def _product(self, x: str, name: str, weight: Floats, output: str) -> None:
        graph, rows = self._graph, self._quantized(x)
        levels, scales = quantize_rows(weight.T, _LARGEST_WEIGHT)
        product = graph.add(
            "MatMulIntegerToFloat",
            rows.levels,
            graph.add_constant(levels.T, np.int8, name),
            graph.add_constant(1, np.float32, "one"),
            graph.add_constant(scales[:, 0], np.float32, f"{name}/scales"),
            graph.add_constant(_ZERO_POINT, np.uint8, "zero_point"),
            domain=ONNXRUNTIME,
        )
        graph.add("Mul", product, rows.scales, output=output)
        self._products.add(output)

    def _quantized(self, x: str) -> _Int8Rows:
        """Return x in int8; products that read the same x share the work."""
        if x not in self._rows:
            graph = self._graph
            last = graph.add_constant([-1], np.int64, "last")
            highest = graph.add("ReduceMax", x, last, keepdims=1)
            lowest = graph.add("ReduceMin", x, last, keepdims=1)
            tiniest = graph.add_constant(_TINIEST, np.float32, "tiniest")
            largest = graph.add("Max", highest, graph.add("Neg", lowest), tiniest)
            step = graph.add_constant(1 / 127, np.float32, "step")
            scales = graph.add("Mul", largest, step)
            row_scales = graph.add("Reshape", scales, last)
            zero_points = self._zero_point_of_each(x, row_scales)
            levels = graph.add("QuantizeLinear", x, row_scales, zero_points, axis=0)
            self._rows[x] = _Int8Rows(levels, scales)
        return self._rows[x]

    def _zero_point_of_each(self, rows: str, row_scales: str) -> str:
        key = self._row_keys.get(rows, rows)
        if key not in self._zero_points:
            zero_point = self._graph.add_constant(_ZERO_POINT, np.uint8, "zero_point")
            shape = self._graph.add("Shape", row_scales)
            self._zero_points[key] = self._graph.add("Expand", zero_point, shape)
        return self._zero_points[key]

    def _gemm(self, node: NodeProto, weight: Floats) -> None:
        attributes = {each.name: onnx.helper.get_attribute_value(each) for each in node.attribute}
        scaled = attributes.get("alpha", 1.0) != 1.0 or attributes.get("beta", 1.0) != 1.0
        if scaled or attributes.get("transA"):
            self._graph.keep(node)
            return
        if attributes.get("transB"):
            weight = weight.T
        if len(node.input) < 3:
            self._product(node.input[0], node.input[1], weight, node.output[0])
            return
        product = f"{node.output[0]}/product"
        self._product(node.input[0], node.input[1], weight, product)
        self._graph.add("Sum", product, node.input[2], output=node.output[0])

    def _lookup(self, node: NodeProto, table: Floats) -> None:
        graph, name = self._graph, f"{node.input[0]}/table"
        by_column = any(each.name == "axis" and each.i in (1, -1) for each in node.attribute)
        if by_column or table.size < _SMALLEST_TABLE:
            graph.keep(node)
            return
        levels, scales = quantize_rows(table, 127)
        row = graph.add("Gather", graph.add_constant(levels, np.int8, name), node.input[1])
        scale = graph.add(
            "Gather", graph.add_constant(scales, np.float32, f"{name}/scales"), node.input[1]
        )
        as_float = graph.add("Cast", row, to=onnx.TensorProto.FLOAT)
        graph.add("Mul", as_float, scale, output=node.output[0])


def quantize_rows(values: Floats, largest: int) -> tuple[NDArray[np.int8], Floats]:
    """Return int8 levels and the scale of each row, (rows, 1); levels * scales ~ values."""
    magnitudes = np.abs(values).max(axis=1, keepdims=True)
    scales = np.maximum(magnitudes, np.float32(_TINIEST)) / np.float32(largest)
    return np.rint(values / scales).astype(np.int8), scales.astype(np.float32)
