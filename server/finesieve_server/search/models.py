"""Find the model that a request or a collection means."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from finesieve_server.errors import FailedPrecondition, ModelNotFound
from finesieve_server.index.records import CollectionSpec
from finesieve_server.runtime.artifact import Manifest
from finesieve_server.runtime.encoder import BiEncoder, CrossEncoder

_Encoder = TypeVar("_Encoder", BiEncoder, CrossEncoder)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """What a caller may know of a model that this server holds."""

    manifest: Manifest
    sha256: str
    execution_provider: str
    is_default: bool


class Models:
    """All models of a server. The first of its kind is the default."""

    def __init__(self, models: Sequence[BiEncoder | CrossEncoder]) -> None:
        self._bi_encoders = {each.name: each for each in models if isinstance(each, BiEncoder)}
        self._cross_encoders = {
            each.name: each for each in models if isinstance(each, CrossEncoder)
        }

    def bi_encoder(self, name: str = "") -> BiEncoder:
        """Raises ModelNotFound, FailedPrecondition for a cross-encoder and where there is none."""
        if name in self._cross_encoders:
            raise FailedPrecondition(f"model {name!r} is a cross-encoder; a bi-encoder is needed")
        if not name and not self._bi_encoders:
            raise FailedPrecondition(
                "this server has no bi-encoder; bring embeddings, in a collection made with "
                "caller_embeds, or start it with a bi-encoder in --models"
            )
        return _find(name, self._bi_encoders)

    def cross_encoder(self, name: str = "") -> CrossEncoder:
        """Raises ModelNotFound, or FailedPrecondition for a bi-encoder and where there is none."""
        if name in self._bi_encoders:
            raise FailedPrecondition(f"model {name!r} is a bi-encoder; a cross-encoder is needed")
        if not name and not self._cross_encoders:
            raise FailedPrecondition(
                "this server has no cross-encoder; ask without the second stage, or start it with "
                "--rerank-target or with a cross-encoder in --models"
            )
        return _find(name, self._cross_encoders)

    def cross_encoders(self) -> Sequence[CrossEncoder]:
        """Return every one, the default first."""
        return tuple(self._cross_encoders.values())

    def encoder_of(self, spec: CollectionSpec) -> BiEncoder:
        """Return the model that a collection was built with, whatever its precision now."""
        if spec.caller_embeds:
            raise FailedPrecondition(
                f"collection {spec.name!r} has no model: its callers bring every embedding"
            )
        for model in self._bi_encoders.values():
            if model.manifest.fingerprint == spec.fingerprint:
                return model
        raise FailedPrecondition(
            f"collection {spec.name!r} was built with {spec.embedding_model!r} "
            f"(fingerprint {spec.fingerprint[:12]}), which this server does not hold; "
            "start it with that model"
        )

    def list(self) -> list[LoadedModel]:
        kinds: tuple[dict[str, BiEncoder] | dict[str, CrossEncoder], ...] = (
            self._bi_encoders,
            self._cross_encoders,
        )
        return [
            LoadedModel(model.manifest, model.sha256, model.execution_provider, position == 0)
            for kind in kinds
            for position, model in enumerate(kind.values())
        ]


def _find(name: str, models: dict[str, _Encoder]) -> _Encoder:
    wanted = name or next(iter(models), "")
    if wanted not in models:
        raise ModelNotFound(name, list(models))
    return models[wanted]
