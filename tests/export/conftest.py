"""Small checkpoints to convert, and requests to convert them."""

from pathlib import Path
from typing import Protocol

import pytest

from finesieve_export.convert import Request
from finesieve_export.parity import TOLERANCES
from finesieve_server.runtime.artifact import Kind, Precision
from tests.export.checkpoints import save_bi_encoder, save_cross_encoder


class MakeRequest(Protocol):
    """Ask for a folder that is not there yet."""

    def __call__(self, model: Path, kind: Kind, precision: Precision) -> Request: ...


@pytest.fixture(scope="session")
def bi_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bi-encoder")
    save_bi_encoder(folder)
    return folder


@pytest.fixture(scope="session")
def cross_encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cross-encoder")
    save_cross_encoder(folder)
    return folder


@pytest.fixture(scope="session")
def make_request(tmp_path_factory: pytest.TempPathFactory) -> MakeRequest:
    def make(model: Path, kind: Kind, precision: Precision) -> Request:
        out = tmp_path_factory.mktemp("converted") / "model"
        return Request(str(model), kind, precision, out, TOLERANCES[precision], threads=1)

    return make
