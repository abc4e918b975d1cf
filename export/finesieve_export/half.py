"""Make a float32 graph one for GPUs: fused operators, float16 arithmetic.

Inputs and outputs stay what they are.
"""

import warnings

import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16

from finesieve_export.errors import ExportError
from finesieve_export.fuse import fuse, remove_padding, tell_key_lengths
from finesieve_export.graph import weight_bytes

# What protobuf writes at most: fusing and halving hand the float32 model on as one message.
_LARGEST = (1 << 31) - 1


def for_gpu(model: onnx.ModelProto, *, packing: bool) -> onnx.ModelProto:
    """Return the model fused and halved; `packing`: also with its padding removed.

    Raises ExportError for a model of more than 2 GB in float32.
    """
    size = weight_bytes(model)
    if size > _LARGEST:
        raise ExportError(
            f"the model has {size / 1e9:.2f} GB of weights in fp32; at most {_LARGEST / 1e9:.2f} "
            "GB can be made fp16: take a smaller model"
        )
    fused = fuse(model)
    if packing:
        fused = remove_padding(fused)
    else:
        tell_key_lengths(fused)
    return to_half(fused)


def to_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with float16 weights and arithmetic.

    The mask's lowest float32 becomes float16's: added to a score it still leaves no probability.
    """
    with warnings.catch_warnings():
        # One warning for each weight below float16's smallest; the parity report counts them all.
        warnings.simplefilter("ignore")
        half: onnx.ModelProto = convert_float_to_float16(model, keep_io_types=True)
    return half
