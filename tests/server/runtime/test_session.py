"""A graph is loaded or refused with its reason."""

from pathlib import Path

import pytest

from finesieve_server.runtime.artifact import BadArtifact
from finesieve_server.runtime.session import Session


@pytest.mark.parametrize("content", [b"", b"not a graph", b"\x08\x0a\x3a\x04\x0a\x02\x0a\x00"])
def test_a_file_that_is_no_graph_is_refused_with_the_reason(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(content)

    with pytest.raises(BadArtifact, match=r"onnxruntime cannot load model\.onnx"):
        Session(tmp_path / "model.onnx", threads=1, pad_id=0)
