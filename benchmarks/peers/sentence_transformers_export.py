"""Convert a cross-encoder by sentence-transformers' own means. Runs in the peer's environment.

python sentence_transformers_export.py CHECKPOINT FP32_FOLDER INT8_FOLDER INSTRUCTIONS
"""

import shutil
import sys
from pathlib import Path

from sentence_transformers import CrossEncoder
from sentence_transformers.backend import export_dynamic_quantized_onnx_model


def main() -> None:
    source, fp32, int8, instructions = sys.argv[1:]
    # A checkpoint saved in fp16 would be run in it otherwise, which a CPU does slowly.
    CrossEncoder(source, device="cpu", model_kwargs={"dtype": "float32"}).save(fp32)
    exported = CrossEncoder(fp32, device="cpu", backend="onnx", model_kwargs={"export": True})
    exported.save(fp32)
    shutil.copytree(fp32, int8, ignore=shutil.ignore_patterns("*.safetensors", "onnx"))
    export_dynamic_quantized_onnx_model(exported, instructions, int8)
    [quantized] = Path(int8).glob("**/*.onnx")
    # infinity-emb takes a file for int8 only by this name.
    quantized.rename(Path(int8) / "onnx" / "model_quantized.onnx")


if __name__ == "__main__":
    main()
