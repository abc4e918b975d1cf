"""Declare every setting once: its flag, its environment variable, its key, its default, its help.

A flag goes before the environment, that before the file, that before the default.
"""

import os
import re
import tomllib
from argparse import ArgumentParser
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_core import PydanticCustomError
from pydantic_settings import (
    BaseSettings,
    CliApp,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from finesieve_server.search.limits import Limits

PREFIX = "FINESIEVE_"
# Kubernetes sets these for a Service named "finesieve"; the client's own may stand beside ours.
_NOT_OURS = re.compile(f"{PREFIX}(SERVER|SERVICE_.*|PORT_.*)")
_LIMITS = Limits()
_TARGETS = "dns:///NAME:PORT, ipv4:ADDRESS:PORT,ADDRESS:PORT, or ipv6:[ADDRESS]:PORT"
_TARGET = re.compile(
    r"""(dns:(//([\d.]+:\d+)?/)?)? ([\w.-]+|\[[\da-f:.%]+\]) :\d+
    | ipv4: [\d.]+:\d+ (,[\d.]+:\d+)*
    | ipv6: \[[\da-f:.]+\]:\d+ (,\[[\da-f:.]+\]:\d+)*
    | unix: \S+""",
    re.VERBOSE | re.IGNORECASE,
)


def _target(value: str) -> str:
    """Refuse what gRPC could not resolve, which it would tell at the first call alone."""
    ports = [] if value.startswith("unix:") else re.findall(r":(\d+)(?=[,/]|$)", value)
    if not _TARGET.fullmatch(value) or any(not 0 < int(port) < 65536 for port in ports):
        raise PydanticCustomError("target", "allowed: {targets}", {"targets": _TARGETS})
    return value


class Settings(BaseSettings):
    """Serve two-stage retrieval over gRPC. Flags are also FINESIEVE_ variables and file keys.

    Beside serving: finesieve-server check, rebuild and backup look after a data directory; each
    has its own --help.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        cli_prog_name="finesieve-server",
        cli_kebab_case=True,
        cli_hide_none_type=True,
        cli_avoid_json=True,
    )

    config: Path | None = Field(
        None, description='TOML file of settings, such as data_dir = "/data".'
    )
    role: Literal["all", "retrieval", "rerank"] = Field(
        "all",
        description="What this server does. rerank: the second stage alone, no data; retrieval: "
        "everything else, and Search with the help of --rerank-target.",
    )
    rerank_target: Annotated[str, AfterValidator(_target)] | None = Field(
        None,
        description="gRPC target of the rerank replicas that score for Search, in role retrieval: "
        f"{_TARGETS}.",
    )
    rerank_tls_ca: Path | None = Field(
        None,
        description="PEM certificates that the replicas' must be signed by; turns on TLS to them. "
        "They are shown tls_certificate where there is one.",
    )
    data_dir: Path = Field(
        Path("finesieve-data"), description="Folder of the collections; made where it is missing."
    )
    index: Literal["embedded", "milvus"] = Field(
        "embedded",
        description="Where passages lie and are found: embedded, in data_dir; or in Milvus.",
    )
    milvus_uri: str = Field(
        "",
        description="Address of Milvus, such as http://milvus:19530; or the path of a file, for "
        "milvus-lite inside this process.",
    )
    milvus_token: SecretStr = Field(
        SecretStr(""),
        description="user:password or API key for Milvus; better as a variable than as a flag.",
    )
    milvus_database: str = Field("", description="Database of Milvus; where empty, its default.")
    milvus_timeout_s: float = Field(
        30, gt=0, description="Longest wait for an answer of Milvus, in seconds."
    )
    milvus_consistency: Literal["Strong", "Session", "Bounded", "Eventually"] = Field(
        "Strong",
        description="Which writes a read of Milvus sees. Strong: all that were answered, whichever "
        "server took them. Session: this server's own.",
    )
    host: str = Field(
        "127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for every network."
    )
    port: int = Field(50051, ge=0, le=65535, description="Port of gRPC; 0 takes a free one.")
    metrics_port: int = Field(
        9464, ge=-1, le=65535, description="Port of Prometheus metrics; 0 a free one, -1 none."
    )
    models: str = Field(
        "bundled",
        description="Model folders, with commas between them; the first of its kind is the "
        "default. 'bundled' stands for those that come with finesieve; 'none': callers embed.",
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        "auto",
        description="What models run on. auto: CUDA where it can be had and no model is int8.",
    )
    gpus: str = Field(
        "all",
        pattern=r"^(all|\d+(,\d+)*)$",
        description="CUDA cards to use: all, or their numbers with commas between them.",
    )
    gpu_memory_mib: int = Field(
        0,
        ge=0,
        description="Most working memory on a card, in MiB, beside the weights; 0: no limit.",
    )
    threads: int = Field(
        0,
        ge=0,
        le=1024,
        description="Threads that run models, that build a graph, that tokenize; 0: one a core.",
    )
    batch_threads: int = Field(
        1,
        ge=1,
        le=1024,
        description="Of the threads that run models on a CPU, how many share a batch. More make a "
        "long text alone faster and all texts together slower; each group holds the weights.",
    )
    max_batch_tokens: int | None = Field(
        None,
        ge=16,
        le=1_048_576,
        description="Largest batch, in tokens with their padding; "
        "where it is not set, 512 on a CPU and 16384 on a GPU.",
    )
    max_batch_ms: float = Field(250, gt=0, description="Longest batch, in predicted milliseconds.")
    max_queue_tokens: int = Field(
        1_000_000,
        ge=1,
        description="Tokens that may wait. A tenant's interactive work, and its bulk work, may "
        "each take as much as is still free; calls beyond that are refused.",
    )
    score_cache_mib: int = Field(
        32, ge=0, description="Memory for scores computed before, in MiB; 0 keeps none."
    )
    max_calls: int = Field(
        1024,
        ge=1,
        description="Calls in flight before further ones are refused; a tenant alone may have "
        "eight ninths of them.",
    )
    max_request_mib: int = Field(32, ge=1, le=1024, description="Largest request, in MiB.")
    default_deadline_s: float = Field(
        30, gt=0, description="Deadline of calls that bring none, in seconds."
    )
    max_connection_age_s: float | None = Field(
        None,
        gt=0,
        description="Age at which clients are asked to connect anew, which shows them new servers; "
        "calls in flight go on. Where it is not set, 60 in role rerank, otherwise none.",
    )
    drain_s: float = Field(
        25, ge=0, description="Seconds that calls in flight get to finish after SIGTERM."
    )
    max_query_chars: int = Field(
        _LIMITS.max_query_chars, ge=1, description="Longest query, in characters."
    )
    max_passage_chars: int = Field(
        _LIMITS.max_passage_chars,
        ge=1,
        description="Longest passage, title or text, in characters.",
    )
    max_documents: int = Field(
        _LIMITS.max_documents,
        ge=1,
        description="Most documents of one rerank, answered or asked of a replica.",
    )
    max_texts: int = Field(_LIMITS.max_texts, ge=1, description="Most texts of one embedding call.")
    max_passages: int = Field(
        _LIMITS.max_passages, ge=1, description="Most passages of one write or read by id."
    )
    max_queries: int = Field(
        _LIMITS.max_queries, ge=1, description="Most queries of one batch retrieval."
    )
    max_top_k: int = Field(_LIMITS.max_top_k, ge=1, le=4_096, description="Most hits of one query.")
    max_window: int = Field(
        _LIMITS.max_window,
        ge=1,
        le=10_000,
        description="Most passages before a hit, and after it, that a search may ask for.",
    )
    tls_certificate: Path | None = Field(None, description="PEM certificate chain; turns on TLS.")
    tls_key: Path | None = Field(None, description="PEM key of the certificate.")
    tls_client_ca: Path | None = Field(
        None, description="PEM certificates that clients' certificates must be signed by."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="Least severe line of the log."
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        # Flags go before these by themselves; what __init__ is given comes from the file.
        return env_settings, init_settings


class BadSettings(Exception):
    """What is wrong with which setting, one a line."""


def read_settings(arguments: Sequence[str]) -> Settings:
    """Return the settings of a command line. Raises BadSettings; --help and a bad flag exit."""
    from_file = _read_file(arguments)
    _refuse_unknown_variables()
    try:
        return CliApp.run(Settings, cli_args=list(arguments), **from_file)
    except ValidationError as error:
        raise BadSettings("\n".join(_lines(error))) from None


def _read_file(arguments: Sequence[str]) -> dict[str, Any]:
    parser = ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", default=os.environ.get(f"{PREFIX}CONFIG"))
    path = parser.parse_known_args(arguments)[0].config
    if path is None:
        return {}
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadSettings(f"config: {path} cannot be read: {error}") from None


def _refuse_unknown_variables() -> None:
    """A misspelt variable is an error, as a misspelt flag is."""
    known = {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(
        name
        for name in os.environ
        if name.startswith(PREFIX) and name not in known and not _NOT_OURS.fullmatch(name)
    )
    if unknown:
        raise BadSettings("\n".join(f"{name}: no such setting" for name in unknown))


def _lines(error: ValidationError) -> list[str]:
    lines = [
        f"{'.'.join(map(str, each['loc']))}: is {each['input']!r}; {each['msg']}"
        for each in error.errors()
    ]
    if os.environ.get(f"{PREFIX}PORT", "").startswith("tcp://"):
        lines.append(
            f"{PREFIX}PORT was set by Kubernetes for a Service named finesieve; "
            "set enableServiceLinks: false on the pod, or --port"
        )
    return lines
