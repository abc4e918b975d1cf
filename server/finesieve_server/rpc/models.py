"""ModelService: what this server runs."""

from finesieve.v1 import models_pb2
from finesieve_server.search.call import Call
from finesieve_server.search.models import LoadedModel, Models

_KINDS = {
    "bi-encoder": models_pb2.MODEL_KIND_BI_ENCODER,
    "cross-encoder": models_pb2.MODEL_KIND_CROSS_ENCODER,
}


class ModelService:
    """Writes what the models say of themselves."""

    def __init__(self, models: Models) -> None:
        self._models = models

    async def ListModels(
        self, _request: models_pb2.ListModelsRequest, _call: Call
    ) -> models_pb2.ListModelsResponse:
        return models_pb2.ListModelsResponse(models=[_model(each) for each in self._models.list()])


def _model(loaded: LoadedModel) -> models_pb2.Model:
    manifest = loaded.manifest
    return models_pb2.Model(
        name=manifest.name,
        kind=_KINDS[manifest.kind],
        source=manifest.source,
        source_revision=manifest.source_revision,
        precision=manifest.precision,
        execution_provider=loaded.execution_provider,
        max_tokens=manifest.max_tokens,
        dimension=manifest.dimension,
        sha256=loaded.sha256,
        is_default=loaded.is_default,
    )
