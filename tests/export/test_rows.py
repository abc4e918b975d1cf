"""Activations as rows: the same results, and fewer reshapes."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from finesieve_export.rows import carry_rows

Floats = NDArray[np.float32]
WIDTH = 8


def constants() -> dict[str, NDArray[np.generic]]:
    random = np.random.default_rng(0)
    return {
        "weight": random.normal(size=(WIDTH, WIDTH)).astype(np.float32),
        "bias": random.normal(size=WIDTH).astype(np.float32),
        "positions": random.normal(size=(1, 5, 1)).astype(np.float32),
        "heads": np.array([0, 0, 2, 4], np.int64),
        "two_four": np.array([2, 4], np.int64),
        "first": np.array(0, np.int64),
        "two": np.array(2, np.float32),
    }


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], **attributes)


def model_of(nodes: list[NodeProto], rank: int) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", "tokens", WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * rank)],
        [numpy_helper.from_array(value, name) for name, value in constants().items()],
    )
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=onnx.IR_VERSION_2023_5_5
    )


def run(model: onnx.ModelProto) -> Floats:
    x = np.random.default_rng(1).normal(size=(3, 5, WIDTH)).astype(np.float32)
    return np.asarray(session_of(model).run(["y"], {"x": x})[0])


def session_of(model: onnx.ModelProto) -> ort.InferenceSession:
    return ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])


def layer() -> list[NodeProto]:
    return [
        node("MatMul", "x weight", "up"),
        node("Add", "bias up", "biased"),
        node("Div", "biased two", "half"),
        node("Erf", "half", "erf"),
        node("Mul", "biased erf", "active"),
        node("MatMul", "active weight", "down"),
        node("Add", "down x", "residual"),
        node("LayerNormalization", "residual bias bias", "y", axis=-1),
    ]


def output_read_inside() -> list[NodeProto]:
    return [node("MatMul", "x weight", "y"), node("Relu", "y", "unread")]


def constant_of_other_axes() -> list[NodeProto]:
    return [node("MatMul", "x weight", "product"), node("Mul", "product positions", "y")]


def heads_with_copied_axes() -> list[NodeProto]:
    return [node("MatMul", "x weight", "product"), node("Reshape", "product heads", "y")]


def heads_of_computed_shape() -> list[NodeProto]:
    return [
        node("MatMul", "x weight", "product"),
        node("Shape", "product", "shape"),
        helper.make_node("Split", ["shape"], ["batch", "tokens", "width"], num_outputs=3),
        node("Concat", "batch tokens two_four", "target", axis=0),
        node("Reshape", "product target", "y"),
    ]


def first_axis_normalized() -> list[NodeProto]:
    return [
        node("MatMul", "x weight", "product"),
        node("LayerNormalization", "product bias", "y", axis=2),
    ]


GRAPHS: list[tuple[Callable[[], list[NodeProto]], int]] = [
    (layer, 3),
    (output_read_inside, 3),
    (constant_of_other_axes, 3),
    (heads_with_copied_axes, 4),
    (heads_of_computed_shape, 4),
    (first_axis_normalized, 3),
]


@pytest.mark.parametrize(("nodes", "rank"), GRAPHS)
def test_a_graph_on_rows_gives_the_same(nodes: Callable[[], list[NodeProto]], rank: int) -> None:
    expected = run(model_of(nodes(), rank))
    model = model_of(nodes(), rank)

    carry_rows(model)

    assert "rows/flat_8" in {each.name for each in model.graph.initializer}
    assert np.abs(run(model) - expected).max() < 1e-5


def test_a_layer_is_reshaped_only_where_it_begins_and_ends() -> None:
    model = model_of(layer(), 3)

    carry_rows(model)

    assert Counter(each.op_type for each in model.graph.node)["Reshape"] == 2


def test_rows_that_a_residual_joins_have_one_key() -> None:
    context = [
        node("Transpose", "x", "swapped", perm=[0, 1, 2]),
        node("MatMul", "x weight", "query"),
        node("MatMul", "swapped weight", "out"),
        node("Add", "out query", "residual"),
        node("LayerNormalization", "residual bias", "y", axis=-1),
    ]

    keys = carry_rows(model_of(context, 3))

    assert set(keys.values()) == {"x"}
    assert {"rows/query", "rows/out", "rows/y"} <= keys.keys()


def test_a_residual_that_broadcasts_over_the_batch_is_right_for_one_and_fails_for_several() -> None:
    learned = [
        node("MatMul", "x weight", "product"),
        node("Mul", "positions weights", "wide"),
        node("MatMul", "wide weight", "places"),
        node("Add", "product places", "sum"),
        node("LayerNormalization", "sum bias", "y", axis=-1),
    ]
    model = model_of(learned, 3)
    model.graph.input.append(
        helper.make_tensor_value_info("weights", TensorProto.FLOAT, [1, 5, WIDTH])
    )
    feeds = {"x": np.ones((1, 5, WIDTH), np.float32), "weights": np.ones((1, 5, WIDTH), np.float32)}
    several = {**feeds, "x": np.ones((3, 5, WIDTH), np.float32)}
    before = session_of(model).run(["y"], feeds)

    carry_rows(model)

    assert {"rows/places", "rows/y"} <= {each.name for each in model.graph.node}
    assert np.allclose(session_of(model).run(["y"], feeds), before, atol=1e-5)
    with pytest.raises(Exception, match="broadcast"):
        session_of(model).run(["y"], several)


def test_rows_of_texts_are_not_taken_for_rows_of_tokens() -> None:
    pooled = [
        node("MatMul", "x weight", "product"),
        node("Gather", "product first", "pooled", axis=1),
        node("MatMul", "pooled weight", "y"),
    ]
    model = model_of(pooled, 2)

    keys = carry_rows(model)

    assert keys["rows/product"] != keys["rows/y"]
