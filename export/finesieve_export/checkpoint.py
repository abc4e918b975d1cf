"""Read what a source model's files say of it.

Decides pooling, prefixes and window from sentence-transformers' own configuration.
Loads no weights, and refuses weights and code that could run something: pickles, remote code.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from finesieve_export.errors import BadCheckpoint, ExportError
from finesieve_export.heads import Pooling
from finesieve_export.hub import Found
from finesieve_export.model_files import read_json, read_license, read_number, read_object
from finesieve_server.runtime.artifact import Kind, file_sha256
from finesieve_server.runtime.query_template import QueryTemplate

Activation = Literal["sigmoid", "identity"]

_POOLINGS: Mapping[str, Pooling] = {"mean": "mean", "cls": "cls", "lasttoken": "last"}

# What config.json says of how it was saved; layers, activation and epsilon are the model.
_MEANINGLESS = ("_name_or_path", "dtype", "torch_dtype", "transformers_version")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A source model's folder and what its configuration says."""

    folder: Path
    kind: Kind
    name: str
    source: str
    revision: str
    license: str
    max_tokens: int
    # Bi-encoders.
    pooling: Pooling = "mean"
    normalized: bool = False
    query_prefix: str = ""
    # Both kinds.
    passage_prefix: str = ""
    # Cross-encoders.
    activation: Activation = "sigmoid"
    query_template: str = ""
    default_instruction: str = ""

    def weights_digest(self) -> str:
        """Return the weights' SHA-256; of several files, that of their digests."""
        digests = [file_sha256(path) for path in sorted(self.folder.glob("*.safetensors"))]
        return digests[0] if len(digests) == 1 else _sha256("".join(digests))

    def fingerprint(self, tokenizer: str) -> str:
        """Digest what embeddings and scores depend on, apart from the precision."""
        meaning = {
            "weights": self.weights_digest(),
            "tokenizer": _sha256(tokenizer),
            "pooling": self.pooling if self.kind == "bi-encoder" else "",
            "normalized": self.normalized,
            "query_prefix": self.query_prefix,
            "passage_prefix": self.passage_prefix,
            "max_tokens": self.max_tokens,
            "activation": self.activation if self.kind == "cross-encoder" else "",
            "config": {
                key: value
                for key, value in read_object(self.folder / "config.json").items()
                if key not in _MEANINGLESS
            },
        }
        if self.query_template:  # others keep the fingerprint that collections know them by
            meaning["query_template"] = [self.query_template, self.default_instruction]
        return _sha256(json.dumps(meaning, sort_keys=True))


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the user says instead of, or in want of, the checkpoint's own configuration."""

    pooling: Pooling | None = None
    normalized: bool | None = None
    query_prefix: str | None = None
    passage_prefix: str | None = None
    max_tokens: int | None = None
    license: str | None = None
    source: str | None = None
    source_revision: str | None = None
    activation: Activation | None = None
    query_template: str = ""
    default_instruction: str = ""


def read_checkpoint(found: Found, kind: Kind, overrides: Overrides) -> Checkpoint:
    """Read a model folder's configuration. Raises BadCheckpoint with what to do about it."""
    folder = found.folder
    config = read_object(folder / "config.json")
    if not config:
        raise BadCheckpoint(
            f"{folder} has no config.json, or an empty one; it is not a transformers checkpoint"
        )
    _refuse_unsafe(folder, config)
    window = _read_window(folder, config, overrides.max_tokens)
    checkpoint = Checkpoint(
        folder=folder,
        kind=kind,
        name=found.name.rpartition("/")[2],
        source=overrides.source or found.name,
        revision=overrides.source_revision or found.revision,
        license=overrides.license or read_license(folder / "README.md"),
        max_tokens=window,
    )
    if kind == "bi-encoder":
        return _read_bi_encoder(checkpoint, overrides)
    return _read_cross_encoder(checkpoint, config, overrides)


def _read_bi_encoder(checkpoint: Checkpoint, overrides: Overrides) -> Checkpoint:
    folder = checkpoint.folder
    pooling, normalized = overrides.pooling, overrides.normalized
    modules = _read_modules(folder)
    if modules:
        pooling = pooling or _read_pooling(folder, modules)
        normalized = ("Normalize" in modules) if normalized is None else normalized
    if pooling is None:
        raise BadCheckpoint(
            f"{folder} has no modules.json to say how tokens become an embedding; "
            "give --pooling mean, cls or last"
        )
    query, passage = _read_prompts(folder)
    query = query if overrides.query_prefix is None else overrides.query_prefix
    passage = passage if overrides.passage_prefix is None else overrides.passage_prefix
    pooled = read_object(_pooling_path(folder, modules))
    if (query or passage) and pooled.get("include_prompt") is False:
        raise BadCheckpoint(
            f"{folder} leaves prefixes out of its pooling (include_prompt is false), which cannot "
            "be converted so far"
        )
    return replace(
        checkpoint,
        pooling=pooling,
        normalized=bool(normalized),
        query_prefix=query,
        passage_prefix=passage,
    )


def _read_cross_encoder(
    checkpoint: Checkpoint, config: Mapping[str, Any], overrides: Overrides
) -> Checkpoint:
    labels = config.get("num_labels") or len(config.get("id2label") or {0: "", 1: ""})
    if labels != 1:
        raise BadCheckpoint(
            f"{checkpoint.folder} gives {labels} labels a pair; a cross-encoder for ranking gives "
            "one score (is it a bi-encoder? then --kind bi-encoder)"
        )
    if "LogitScore" in _read_modules(checkpoint.folder):
        raise BadCheckpoint(f"{checkpoint.folder} is a decoder; encoders can be converted so far")
    # The declared activation is not read: models whose logits are unbounded declare Identity, as
    # they are sorted by logits alone, and a clamped logit is no probability.
    try:
        template = QueryTemplate(overrides.query_template, overrides.default_instruction)
    except ValueError as error:
        raise ExportError(str(error)) from None
    return replace(
        checkpoint,
        activation=overrides.activation or "sigmoid",
        passage_prefix=overrides.passage_prefix or "",
        query_template=template.text,
        default_instruction=template.default_instruction,
    )


def _refuse_unsafe(folder: Path, config: Mapping[str, Any]) -> None:
    if not any(folder.glob("*.safetensors")):
        pickled = sorted(path.name for path in folder.glob("*.bin"))
        found = f" (it has {', '.join(pickled)}, which may run code when read)" if pickled else ""
        raise BadCheckpoint(
            f"{folder} has no *.safetensors{found}; save it with "
            "`model.save_pretrained(folder, safe_serialization=True)` where you trust it"
        )
    from transformers import CONFIG_MAPPING

    if config.get("model_type") not in CONFIG_MAPPING:
        raise BadCheckpoint(
            f"{folder} has model type {config.get('model_type')!r}, which transformers does not "
            "know; models that bring code of their own are refused"
        )


def _read_modules(folder: Path) -> dict[str, str]:
    """Return sentence-transformers' modules in order: class name to the folder of its settings."""
    listed = read_json(folder / "modules.json") or []
    if not isinstance(listed, list) or not all(isinstance(each, dict) for each in listed):
        raise BadCheckpoint(f"{folder / 'modules.json'} is not a list of modules")
    modules = {}
    for each in listed:
        if not str(each.get("type", "")).startswith("sentence_transformers."):
            raise BadCheckpoint(f"{folder} has a module {each.get('type')!r} with code of its own")
        modules[str(each["type"]).rpartition(".")[2]] = str(each.get("path", ""))
    unknown = modules.keys() - {"Transformer", "Pooling", "Normalize", "LogitScore"}
    if unknown:
        raise BadCheckpoint(
            f"{folder} has modules that are not converted so far: {sorted(unknown)}"
        )
    return modules


def _pooling_path(folder: Path, modules: Mapping[str, str]) -> Path:
    return folder / modules.get("Pooling", "1_Pooling") / "config.json"


def _read_prompts(folder: Path) -> tuple[str, str]:
    """Return what stands before a query and before a passage."""
    path = folder / "config_sentence_transformers.json"
    settings = read_object(path)
    prompts = settings.get("prompts") or {}
    default = settings.get("default_prompt_name")
    if not isinstance(prompts, dict) or not all(isinstance(each, str) for each in prompts.values()):
        raise BadCheckpoint(f"{path}: prompts are not texts by name")
    if default is not None and default not in list(prompts):
        raise BadCheckpoint(f"{path}: default_prompt_name {default!r} is none of its prompts")
    texts: dict[str, str] = prompts
    otherwise = "" if default is None else texts[default]
    passage = texts.get("passage", texts.get("document", otherwise))
    return texts.get("query", otherwise), passage


def _read_pooling(folder: Path, modules: Mapping[str, str]) -> Pooling:
    config = read_object(_pooling_path(folder, modules))
    named = config.get("pooling_mode")
    modes: Sequence[str] = [named] if isinstance(named, str) else named or []
    if not modes:  # as sentence-transformers before 5.3 wrote it
        prefix, suffix = "pooling_mode_", "_tokens"
        modes = [
            key.removeprefix(prefix).removesuffix(suffix).removesuffix("_token")
            for key, on in config.items()
            if key.startswith(prefix) and on is True
        ]
    if len(modes) != 1 or modes[0] not in _POOLINGS:
        raise BadCheckpoint(
            f"{folder} pools by {modes or 'nothing'}; {sorted(_POOLINGS)} can be converted so far"
        )
    return _POOLINGS[modes[0]]


def _read_window(folder: Path, config: Mapping[str, Any], wanted: int | None) -> int:
    """Return the wanted window in tokens, or the smallest that any of the files states."""
    positions = read_number(folder / "config.json", config, "max_position_embeddings")
    if positions and config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "mpnet"):
        # Positions start after padding's.
        padding = read_number(folder / "config.json", config, "pad_token_id")
        positions -= 2 if padding is None else padding + 1
    if wanted:
        if positions and wanted > positions:
            raise BadCheckpoint(f"--max-tokens is {wanted}; {folder} has {positions} positions")
        return wanted
    stated = [positions]
    for path, key in (
        (folder / "sentence_bert_config.json", "max_seq_length"),
        (folder / "tokenizer_config.json", "model_max_length"),
    ):
        stated.append(read_number(path, read_object(path), key))
    # Without a limit of its own, a tokenizer states some 1e30.
    known = [each for each in stated if each and each < 1_000_000]
    if not known:
        raise BadCheckpoint(f"{folder} does not say how many tokens fit; give --max-tokens")
    return min(known)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
