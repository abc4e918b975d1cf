"""A cross-encoder that takes an instruction: converted, served, and asked with and without one."""

import asyncio
import re
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from finesieve_export.checkpoint import Overrides, read_checkpoint
from finesieve_export.convert import convert
from finesieve_export.errors import ExportError
from finesieve_export.hub import find_folder
from finesieve_export.source_model import SourceModel
from finesieve_server.batching.batcher import Batcher
from finesieve_server.batching.plan import BatchLimits
from finesieve_server.errors import EmptyField, InvalidArgument, TooLong
from finesieve_server.runtime.artifact import Artifact, BadArtifact, write_manifest
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.limits import Limits
from finesieve_server.search.local_scorer import LocalScorer
from finesieve_server.search.models import Models
from finesieve_server.search.pairs import LongPassage
from finesieve_server.search.ranking import Ranking, ScoreStatus
from finesieve_server.search.reranker import Reranker
from finesieve_server.search.texts import TokenizerPool
from finesieve_server.telemetry import Metrics
from tests.export.checkpoints import ANY_LOSS, say_nothing
from tests.export.conftest import MakeRequest

TEMPLATE = "<I>: {instruction}\n<Q>: {query}"
DEFAULT = "find the answer"
PREFIX = "<D>: "
OVERRIDES = Overrides(query_template=TEMPLATE, default_instruction=DEFAULT, passage_prefix=PREFIX)
QUERY = "return the name of a file"
TEXTS = ("the name of the file is returned", "a list of values", "write to a file")


@pytest.fixture(scope="module")
def artifact(cross_encoder_folder: Path, make_request: MakeRequest) -> Artifact:
    request = make_request(cross_encoder_folder, "cross-encoder", "fp32")
    # Of two long texts the source cuts both, the server the passage.
    return convert(replace(request, overrides=OVERRIDES, tolerance=ANY_LOSS), say_nothing)


@pytest.fixture
async def reranker(artifact: Artifact) -> AsyncIterator[Reranker]:
    model = CrossEncoder(artifact, threads=1)
    batcher = Batcher(
        [{model.name: model}], BatchLimits(512, 1.0), score_cache_bytes=0, metrics=Metrics()
    )
    await asyncio.to_thread(batcher.start, asyncio.get_running_loop())
    tokenizers = TokenizerPool(1)
    yield Reranker(LocalScorer(Models([model]), batcher, tokenizers, Limits(max_query_chars=2000)))
    tokenizers.close()
    await asyncio.to_thread(batcher.close)


async def ask(reranker: Reranker, query: str, *texts: str, instruction: str = "") -> Ranking:
    given = [Candidate(text) for text in texts or TEXTS]
    options = RerankOptions(instruction=instruction)
    return await reranker.rank(query, given, options, Call(time.monotonic() + 30))


def logits(ranking: Ranking) -> dict[int, float]:
    return {each.index: each.score.logit for each in ranking.results if each.score}


async def test_what_is_served_scores_as_the_source_does_what_the_template_writes(
    artifact: Artifact, reranker: Reranker, cross_encoder_folder: Path
) -> None:
    found = find_folder(str(cross_encoder_folder), None)
    source = SourceModel(read_checkpoint(found, "cross-encoder", OVERRIDES), threads=1)

    ours = logits(await ask(reranker, QUERY, instruction="find a list"))

    theirs = source.score([(f"<I>: find a list\n<Q>: {QUERY}", f"<D>: {text}") for text in TEXTS])
    assert [ours[index] for index in range(3)] == pytest.approx(theirs.tolist(), abs=1e-4)
    manifest = artifact.manifest
    assert (manifest.query_template, manifest.default_instruction) == (TEMPLATE, DEFAULT)
    assert manifest.passage_prefix == PREFIX


async def test_no_instruction_means_the_models_own(reranker: Reranker) -> None:
    without = logits(await ask(reranker, QUERY))

    assert without == logits(await ask(reranker, QUERY, instruction=DEFAULT))
    assert without != logits(await ask(reranker, QUERY, instruction="find what contradicts"))


async def test_a_long_query_is_cut_and_its_instruction_is_not(reranker: Reranker) -> None:
    long = f"{QUERY} " * 30

    cut = await ask(reranker, long)
    other_end = await ask(reranker, long + "of something else")
    instructed = await ask(reranker, long, instruction="find what contradicts")

    assert cut.query_truncated
    assert {each.status for each in cut.results} == {ScoreStatus.SCORED}
    assert logits(cut) == logits(other_end), "what is beyond the cut does not count"
    assert logits(cut) != logits(instructed), "the instruction does"


@pytest.mark.parametrize(
    ("instruction", "error"),
    [("find it " * 20, InvalidArgument), ("x" * 2001, TooLong), (" ", EmptyField)],
)
async def test_an_instruction_that_leaves_no_room_or_says_nothing_is_refused_by_name(
    reranker: Reranker, instruction: str, error: type[InvalidArgument]
) -> None:
    with pytest.raises(error) as refusal:
        await ask(reranker, QUERY, instruction=instruction)

    assert refusal.value.field == "options.instruction"


async def test_chunks_of_a_long_passage_point_into_its_text(reranker: Reranker) -> None:
    text = "a list of values " * 30
    options = RerankOptions(long_passage=LongPassage.CHUNK)

    ranking = await reranker.rank(
        QUERY, [Candidate(text, title="values")], options, Call(time.monotonic() + 30)
    )

    [result] = ranking.results
    assert result.best_span is not None
    start, end = result.best_span
    assert 0 <= start < end <= len(text)
    assert text[start:end].split(maxsplit=1)[0] in text.split(), "from a word's beginning"


def test_a_template_that_leaves_no_room_for_a_query_is_refused_at_start(
    artifact: Artifact,
) -> None:
    long = replace(artifact.manifest, default_instruction="find it " * 20)
    write_manifest(artifact.folder, long)

    with pytest.raises(BadArtifact, match=r"query_template takes \d+ tokens; at most 23"):
        CrossEncoder(replace(artifact, manifest=long), threads=1)

    write_manifest(artifact.folder, artifact.manifest)


def test_a_template_without_a_query_is_refused_before_anything_is_converted(
    cross_encoder_folder: Path, make_request: MakeRequest
) -> None:
    request = make_request(cross_encoder_folder, "cross-encoder", "fp32")

    with pytest.raises(ExportError, match=re.escape("does not hold {query} once")):
        convert(replace(request, overrides=Overrides(query_template="Q:")), say_nothing)
