"""int8: the same bits in any company, and close to float32."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from finesieve_export.convert import convert
from finesieve_export.invariance import measure, real_inputs
from finesieve_export.quantize import Floats, quantize, quantize_rows
from finesieve_server.runtime.artifact import Artifact
from finesieve_server.runtime.encoder import BiEncoder, CrossEncoder
from tests.export.checkpoints import ANY_LOSS, WINDOW, say_nothing
from tests.export.conftest import MakeRequest


@pytest.fixture(scope="module")
def bi_encoder(bi_encoder_folder: Path, make_request: MakeRequest) -> Artifact:
    request = make_request(bi_encoder_folder, "bi-encoder", "int8")
    return convert(replace(request, tolerance=ANY_LOSS), say_nothing)


@pytest.fixture(scope="module")
def cross_encoder(cross_encoder_folder: Path, make_request: MakeRequest) -> Artifact:
    request = make_request(cross_encoder_folder, "cross-encoder", "int8")
    return convert(replace(request, tolerance=ANY_LOSS), say_nothing)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_pair_scores_the_same_bits_alone_and_in_any_company(
    cross_encoder: Artifact, threads: int
) -> None:
    encoder = CrossEncoder(cross_encoder, threads=threads)
    inputs = real_inputs(encoder.tokenizer, pairs=True, max_tokens=WINDOW)

    measured = measure(encoder.run, inputs, companies=200)

    assert measured.compared > 1000
    assert measured.moved == 0
    assert measured.score_deviation > 0


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_a_text_embeds_to_the_same_bits_alone_and_in_any_company(
    bi_encoder: Artifact, threads: int
) -> None:
    encoder = BiEncoder(bi_encoder, threads=threads)
    inputs = real_inputs(encoder.tokenizer, pairs=False, max_tokens=64)

    measured = measure(encoder.run, inputs, companies=200)

    assert measured.compared > 1000
    assert measured.moved == 0


def test_every_product_with_weights_is_int8(cross_encoder: Artifact) -> None:
    model = onnx.load(cross_encoder.model_path)

    constants = {each.name: each for each in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"]
    left = [
        node.name
        for node in model.graph.node
        if node.op_type in ("MatMul", "Gemm") and set(node.input) & constants.keys()
    ]
    assert len(products) == 2 * 6 + 2  # layers * (query, key, value, 3 dense), pooler, classifier
    assert left == []
    assert {constants[node.input[1]].data_type for node in products} == {TensorProto.INT8}


def test_products_that_read_one_activation_share_its_quantization(cross_encoder: Artifact) -> None:
    model = onnx.load(cross_encoder.model_path)

    operators = [node.op_type for node in model.graph.node]

    assert operators.count("QuantizeLinear") == 2 * 4 + 2


def test_weights_leave_room_for_sixteen_bit_sums(cross_encoder: Artifact) -> None:
    """Without VNNI, x86 adds two uint8 x int8 products in 16 bits."""
    model = onnx.load(cross_encoder.model_path)

    weights = {node.input[1] for node in model.graph.node if node.op_type == "MatMulIntegerToFloat"}
    largest = max(
        int(np.abs(numpy_helper.to_array(each).astype(np.int16)).max())
        for each in model.graph.initializer
        if each.name in weights
    )
    assert 255 * largest * 2 <= np.iinfo(np.int16).max


def test_rows_are_quantized_to_within_half_a_step() -> None:
    values = np.random.default_rng(0).normal(size=(7, 50)).astype(np.float32)
    values[3] = 0

    levels, scales = quantize_rows(values, 64)

    assert np.abs(levels.astype(int)).max() == 64
    assert np.all(np.abs(levels * scales - values) <= scales / 2 * 1.0001)
    assert not levels[3].any()


def test_a_gemm_with_factors_of_its_own_is_left_alone() -> None:
    weight = numpy_helper.from_array(np.ones((4, 3), np.float32), "weight")
    gemm = helper.make_node("Gemm", ["x", "weight"], ["y"], alpha=0.5)
    graph = helper.make_graph(
        [gemm],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3])],
        [weight],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)])

    quantize(model)

    assert [node.op_type for node in model.graph.node] == ["Gemm"]


def run_quantized(nodes: list[NodeProto], shape: list[int], weight: Floats, x: Floats) -> Floats:
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(x.shape))],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [numpy_helper.from_array(weight, "weight")],
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=onnx.IR_VERSION_2023_5_5
    )
    quantize(model)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return np.asarray(session.run(["y"], {"x": x})[0])


def test_a_weight_read_in_two_ways_is_quantized_for_each() -> None:
    random = np.random.default_rng(0)
    weight = random.normal(size=(32, 32)).astype(np.float32)
    x = random.normal(size=(5, 32)).astype(np.float32)
    nodes = [
        helper.make_node("MatMul", ["x", "weight"], ["plain"]),
        helper.make_node("Gemm", ["x", "weight"], ["transposed"], transB=1),
        helper.make_node("Sub", ["plain", "transposed"], ["y"]),
    ]

    actual = run_quantized(nodes, [5, 32], weight, x)

    expected = x @ weight - x @ weight.T
    assert np.abs(actual - expected).max() < 0.05 * expected.std()


@pytest.mark.parametrize("axis", [1, -1])
def test_a_lookup_of_columns_is_left_alone(axis: int) -> None:
    table = np.random.default_rng(0).normal(size=(300, 300)).astype(np.float32)
    nodes = [
        helper.make_node("Cast", ["x"], ["columns"], to=TensorProto.INT64),
        helper.make_node("Gather", ["weight", "columns"], ["y"], axis=axis),
    ]

    actual = run_quantized(nodes, [300, 2], table, np.array([3, 7], np.float32))

    assert np.array_equal(actual, table[:, [3, 7]])
