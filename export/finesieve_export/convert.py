"""Make a model folder from a checkpoint: trace, shrink, compare, and only then put it in place."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import onnx

from finesieve_export import parity
from finesieve_export.checkpoint import Checkpoint, Overrides, read_checkpoint
from finesieve_export.errors import ExportError
from finesieve_export.fuse import fused_operators
from finesieve_export.graph import serialize
from finesieve_export.heads import attach_pooling
from finesieve_export.hub import find_folder
from finesieve_export.parity import Tolerance
from finesieve_export.progress import Tell
from finesieve_export.quantize import quantize
from finesieve_server.runtime.artifact import (
    MANIFEST,
    Artifact,
    Kind,
    Manifest,
    Precision,
    read_artifact,
    write_manifest,
)
from finesieve_server.runtime.device import Device, Wanted, find_devices


@dataclass(frozen=True, slots=True)
class Request:
    """What to convert, into what, and how much it may lose."""

    model: str
    kind: Kind
    precision: Precision
    out: Path
    tolerance: Tolerance
    name: str = ""
    revision: str | None = None
    first_stage_weight: float = 0.0
    threads: int = 2
    force: bool = False
    # Where parity is measured.
    device: Wanted = "cpu"
    # Compute nothing for padding, which onnxruntime offers on CUDA.
    packing: bool = False
    overrides: Overrides = Overrides()


def convert(request: Request, tell: Tell) -> Artifact:
    """Write the model folder and return it, read back; `tell` hears of each step.

    Nothing is left at `out` where a step fails, and what was there stays.
    """
    try:
        _check_out(request.out, force=request.force)
        _check_packing(request)
        [device, *_] = find_devices(request.device)
        tell(f"finding {request.model}")
        found = find_folder(request.model, request.revision)
        checkpoint = read_checkpoint(found, request.kind, request.overrides)
        request.out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=request.out.parent, prefix=".finesieve-") as beside:
            draft = Path(beside) / "model"
            draft.mkdir()
            _write_model(draft, checkpoint, request, tell)
            _write_report(draft, checkpoint, request, device, tell)
            put_in_place(draft, request.out)
    except OSError as error:  # What reads the source says BadCheckpoint instead.
        raise ExportError(f"cannot write {request.out}: {error}") from error
    return read_artifact(request.out)


def _write_model(draft: Path, checkpoint: Checkpoint, request: Request, tell: Tell) -> None:
    tell("tracing to ONNX")
    from finesieve_export.source_model import tokenizer_json, trace

    model = _shape(trace(checkpoint), checkpoint, request, tell)
    tokenizer = tokenizer_json(checkpoint)
    (draft / "model.onnx").write_bytes(serialize(model))
    (draft / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    write_manifest(
        draft,
        Manifest(
            name=request.name or checkpoint.name,
            kind=checkpoint.kind,
            precision=request.precision,
            max_tokens=checkpoint.max_tokens,
            fingerprint=checkpoint.fingerprint(tokenizer),
            source=checkpoint.source,
            source_revision=checkpoint.revision or f"sha256:{checkpoint.weights_digest()}",
            license=checkpoint.license,
            dimension=_dimension(model) if checkpoint.kind == "bi-encoder" else 0,
            pooling=checkpoint.pooling if checkpoint.kind == "bi-encoder" else "",
            normalized=checkpoint.normalized,
            query_prefix=checkpoint.query_prefix,
            passage_prefix=checkpoint.passage_prefix,
            activation=checkpoint.activation,
            query_template=checkpoint.query_template,
            default_instruction=checkpoint.default_instruction,
            first_stage_weight=request.first_stage_weight,
            fused=fused_operators(model) if request.precision == "fp16" else {},
        ),
    )


def _shape(
    model: onnx.ModelProto, checkpoint: Checkpoint, request: Request, tell: Tell
) -> onnx.ModelProto:
    """Return the graph as it is served: its head on, at its precision."""
    if request.precision == "fp16":
        tell("fusing and halving")
        from finesieve_export.half import for_gpu

        model = for_gpu(model, packing=request.packing)
    if checkpoint.kind == "bi-encoder":
        # After halving: pooling adds up many tokens, and stays float32.
        attach_pooling(model, checkpoint.pooling, normalized=checkpoint.normalized)
    if request.precision == "int8":
        tell("quantizing")
        quantize(model)
    return model


def _dimension(model: onnx.ModelProto) -> int:
    return int(model.graph.output[0].type.tensor_type.shape.dim[-1].dim_value)


def _write_report(
    draft: Path, checkpoint: Checkpoint, request: Request, device: Device, tell: Tell
) -> None:
    tell("loading the source model")
    from finesieve_export.source_model import SourceModel

    artifact = read_artifact(draft)
    source = SourceModel(checkpoint, threads=request.threads)
    measured = parity.measure(source, artifact, tell, threads=request.threads, device=device)
    parity.check(measured, request.tolerance)
    report = parity.as_report(measured, request.tolerance, device)
    write_manifest(draft, replace(artifact.manifest, parity=report))


def _check_out(out: Path, *, force: bool) -> None:
    if not out.exists():
        return
    if not force:
        raise ExportError(f"{out} is there already; name another folder or give --force")
    if not (out / MANIFEST).is_file():
        raise ExportError(f"{out} is no model folder (it has no {MANIFEST}); it is not replaced")


def _check_packing(request: Request) -> None:
    if request.packing and (request.precision, request.device) != ("fp16", "cuda"):
        raise ExportError(
            "--packing needs --precision fp16 and --device cuda: onnxruntime removes padding on "
            "CUDA only, so that nothing else can compare the result with its source"
        )


def put_in_place(draft: Path, out: Path) -> None:
    """Rename the draft to `out`; where that fails, what was there is there again."""
    replaced = draft.parent / "replaced"  # goes with the temporary folder
    if out.exists():
        out.rename(replaced)
    try:
        draft.rename(out)
    except OSError:
        if replaced.exists():
            replaced.rename(out)
        raise
