"""The command line of the export: convert a model, verify a folder, measure any model.

Only `convert` imports torch, and only when it runs.
"""

from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from finesieve_export.errors import ExportError
from finesieve_export.progress import Steps
from finesieve_server.runtime.artifact import MANIFEST, BadArtifact, Manifest, read_artifact
from finesieve_server.runtime.device import NoDevice, find_devices

app = typer.Typer(
    help="Convert models for finesieve-server, and check what the conversion cost.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
console = Console()

_NEEDS_TORCH = (
    "converting needs torch, transformers and optimum: pip install 'finesieve[server,export]'"
)


class KindOption(StrEnum):
    BI_ENCODER = "bi-encoder"
    CROSS_ENCODER = "cross-encoder"


class PrecisionOption(StrEnum):
    FP32 = "fp32"
    INT8 = "int8"
    FP16 = "fp16"


class PoolingOption(StrEnum):
    MEAN = "mean"
    CLS = "cls"
    LAST = "last"


class DeviceOption(StrEnum):
    CPU = "cpu"
    CUDA = "cuda"


class ActivationOption(StrEnum):
    SIGMOID = "sigmoid"
    IDENTITY = "identity"


Companies = Annotated[int, typer.Option(min=1, help="Random batches to score inputs in.")]
Threads = Annotated[int, typer.Option(min=1, help="Threads that run the model.")]
RunOn = Annotated[DeviceOption, typer.Option(help="What the converted model is tried on.")]


@app.command()
def convert(
    kind: Annotated[KindOption, typer.Option(help="What the model is.")],
    model: Annotated[str, typer.Option(help="A hub id (org/name) or a local folder.")],
    out: Annotated[Path, typer.Option(help="The model folder to write.")],
    precision: Annotated[
        PrecisionOption, typer.Option(help="int8 for CPUs, fp16 for GPUs.")
    ] = PrecisionOption.INT8,
    name: Annotated[str, typer.Option(help="The name callers use. (default: the model's)")] = "",
    revision: Annotated[
        str | None, typer.Option(help="A hub model's branch, tag or commit.")
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="Its licence. (default: from its README.md)")
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Where it came from. (default: --model)")
    ] = None,
    source_revision: Annotated[
        str | None,
        typer.Option(help="Which version that was. (default: the commit, or the weights' digest)"),
    ] = None,
    max_tokens: Annotated[
        int | None, typer.Option(min=8, help="The window in tokens. (default: from its files)")
    ] = None,
    pooling: Annotated[
        PoolingOption | None,
        typer.Option(help="Bi-encoders: how tokens become an embedding. (default: from its files)"),
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option(help="Bi-encoders: scale embeddings to length 1. (default: from its files)"),
    ] = None,
    query_prefix: Annotated[
        str | None, typer.Option(help="Bi-encoders: put before a query, 'query: ' for instance.")
    ] = None,
    passage_prefix: Annotated[
        str | None, typer.Option(help="Put before a passage, '<Document>: ' for instance.")
    ] = None,
    query_template: Annotated[
        str,
        typer.Option(
            help="Cross-encoders: text around {query}, and around {instruction} where the model "
            "takes one."
        ),
    ] = "",
    default_instruction: Annotated[
        str, typer.Option(help="Cross-encoders: the instruction of callers that give none.")
    ] = "",
    activation: Annotated[
        ActivationOption,
        typer.Option(help="Cross-encoders: logit to probability. identity: they are 0..1 already."),
    ] = ActivationOption.SIGMOID,
    first_stage_weight: Annotated[
        float,
        typer.Option(min=0, max=1, help="Cross-encoders: the first stage's share in a blend."),
    ] = 0.0,
    max_error: Annotated[
        float | None,
        typer.Option(help="Refuse a larger score error, in standard deviations of the scores."),
    ] = None,
    min_rank_correlation: Annotated[
        float | None, typer.Option(help="Refuse a lower rank correlation (Spearman's).")
    ] = None,
    min_overlap: Annotated[
        float | None, typer.Option(help="Refuse a lower share of the source's ten best.")
    ] = None,
    packing: Annotated[
        bool,
        typer.Option(
            "--packing", help="fp16: compute nothing for padding; needs --device cuda to be tried."
        ),
    ] = False,
    device: RunOn = DeviceOption.CPU,
    threads: Threads = 2,
    force: Annotated[bool, typer.Option("--force", help="Replace the folder at --out.")] = False,
) -> None:
    """Make a model folder: ONNX, tokenizer, manifest, compared with the source on real text."""
    try:
        from finesieve_export.convert import Request
        from finesieve_export.convert import convert as run_convert
    except ModuleNotFoundError as error:
        raise ExportError(f"{_NEEDS_TORCH} ({error})") from error
    from finesieve_export.checkpoint import Overrides
    from finesieve_export.parity import TOLERANCES

    tolerance = TOLERANCES[precision.value]
    stated = {
        "largest_error": max_error,
        "rank_correlation": min_rank_correlation,
        "top_10_overlap": min_overlap,
    }
    request = Request(
        model=model,
        kind=kind.value,
        precision=precision.value,
        out=out,
        tolerance=replace(
            tolerance, **{key: each for key, each in stated.items() if each is not None}
        ),
        name=name,
        revision=revision,
        first_stage_weight=first_stage_weight,
        threads=threads,
        force=force,
        device=device.value,
        packing=packing,
        overrides=Overrides(
            pooling=pooling.value if pooling else None,
            normalized=normalize,
            query_prefix=query_prefix,
            passage_prefix=passage_prefix,
            max_tokens=max_tokens,
            license=license,
            source=source,
            source_revision=source_revision,
            activation=activation.value,
            query_template=query_template,
            default_instruction=default_instruction,
        ),
    )
    with Steps(console) as steps:
        artifact = run_convert(request, steps.tell)
    _print_manifest(artifact.manifest, out)


@app.command()
def verify(
    folder: Annotated[Path, typer.Argument(help="A model folder.")],
    companies: Companies = 50,
    threads: Threads = 2,
    device: RunOn = DeviceOption.CPU,
) -> None:
    """Re-check a model folder on this machine: digests, graph, same scores in company."""
    from finesieve_export.verify import verify as run_verify

    table = Table("check", "", "seen", title=escape(str(folder)), title_justify="left")
    failed = False
    [tried_on, *_] = find_devices(device.value)
    for check in run_verify(folder, companies=companies, threads=threads, device=tried_on):
        failed |= not check.passed
        mark = "[green]ok[/]" if check.passed else "[red]FAILED[/]"
        table.add_row(check.name, mark, escape(check.seen))
    console.print(table)
    raise typer.Exit(code=failed)


@app.command()
def invariance(
    model: Annotated[Path, typer.Argument(help="Any encoder: model.onnx, or a folder with one.")],
    tokenizer: Annotated[
        Path | None, typer.Option(help="Its tokenizer.json. (default: beside the model)")
    ] = None,
    pairs: Annotated[
        bool | None,
        typer.Option(help="Does it read pairs or single texts? (default: pairs, if it has logits)"),
    ] = None,
    max_tokens: Annotated[
        int, typer.Option(min=8, help="Longest input in tokens; a manifest's window may be less.")
    ] = 192,
    companies: Companies = 100,
    threads: Threads = 2,
) -> None:
    """Score inputs alone and in company, and report how far the company moves a score."""
    from finesieve_export.invariance import measure_model

    if (model / MANIFEST).is_file():
        max_tokens = min(max_tokens, read_artifact(model).manifest.max_tokens)
    path = model / "model.onnx" if model.is_dir() else model
    measured = measure_model(
        path,
        tokenizer or path.parent / "tokenizer.json",
        pairs=pairs,
        max_tokens=max_tokens,
        companies=companies,
        threads=threads,
    )
    console.print(
        f"{measured.moved} of {measured.compared} outputs moved in {measured.companies} companies; "
        f"at most {measured.largest_move:.3g}, {measured.mean_move:.3g} on average "
        f"(outputs deviate by {measured.score_deviation:.3g} among themselves)"
    )


def _print_manifest(manifest: Manifest, out: Path) -> None:
    report = manifest.parity
    size = sum(each.bytes for each in manifest.files.values()) / 1e6
    console.print(
        f"[bold]{escape(manifest.name)}[/] ({manifest.kind}, {manifest.precision}, {size:.1f} MB) "
        f"is in {escape(str(out))}"
    )
    if manifest.precision == "fp16":
        found = ", ".join(f"{count} {name}" for name, count in manifest.fused.items()) or "nothing"
        attention = any("Attention" in name for name in manifest.fused)
        without = "" if attention else "; attention stays unfused, which a GPU runs slower"
        console.print(f"fused for GPUs: {escape(found)}{without}")
    console.print(
        f"against its source, on {report['device']}: "
        f"score error at most {report['largest_error']:.2g}, "
        f"mean {report['mean_error']:.2g} (scores deviate by {report['score_deviation']:.2g}); "
        f"rank correlation {report['rank_correlation']:.4f}; "
        f"top-10 overlap {report['top_10_overlap']:.3f}"
    )
    if not manifest.license:
        console.print("[yellow]its licence is not known:[/] state it with --license")
    console.print(f"serve it: finesieve-server --models {escape(str(out))} …")


def main() -> None:
    """Run the command; an error that the user can act on is one line, without a traceback."""
    try:
        app()
    except (ExportError, BadArtifact, NoDevice) as error:
        # An error quotes what it saw, brackets as well: those are no markup.
        told = f"[red]error:[/] {escape(str(error))}"
        Console(stderr=True).print(told, highlight=False, soft_wrap=True)
        raise SystemExit(1) from None


if __name__ == "__main__":
    main()
