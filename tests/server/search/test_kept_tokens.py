"""What ingest keeps of passages for the cross-encoder changes no answer, only what it costs."""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from structlog.testing import capture_logs

from finesieve_server.batching.batcher import Batcher
from finesieve_server.batching.plan import BatchLimits, Priority
from finesieve_server.batching.work import Done, Work
from finesieve_server.errors import ModelNotFound, Overloaded
from finesieve_server.index.catalog import Catalog
from finesieve_server.index.collection import Collection
from finesieve_server.index.records import CollectionSpec, Distance, HnswOptions, Passage, View
from finesieve_server.runtime.artifact import read_artifact
from finesieve_server.runtime.encoder import BiEncoder, CrossEncoder
from finesieve_server.runtime.tokenizer import TokenIds, Tokenizer
from finesieve_server.search.call import Call
from finesieve_server.search.candidates import Candidate, RerankOptions
from finesieve_server.search.context import ContextReader
from finesieve_server.search.embedder import Embedder, Role
from finesieve_server.search.hits import SearchHit
from finesieve_server.search.ingester import Ingester
from finesieve_server.search.limits import Limits
from finesieve_server.search.local_scorer import LocalScorer
from finesieve_server.search.models import Models
from finesieve_server.search.pairs import LongPassage
from finesieve_server.search.ranking import Ranked, ScoreStatus
from finesieve_server.search.reranker import Reranker
from finesieve_server.search.retriever import RetrievalOptions, Retriever
from finesieve_server.search.texts import TokenizerPool
from finesieve_server.search.token_keeper import TokenKeeper
from finesieve_server.search.two_stage import SearchQuery, SearchResult, TwoStage
from finesieve_server.telemetry import Metrics

MODELS = Path(__file__).parents[3] / "models"
QUERY = "how do I copy a folder with everything in it"
SENTENCES = (
    "Recursively copy an entire directory tree rooted at src to a directory named dst.",
    "Return the sine of x, measured in radians.",
    "Send a signal to a process with the given id.",
    "Parse a date from a string according to a format [SEP] [CLS].",
)
TEXTS = tuple(Candidate(text) for text in SENTENCES)
PASSAGES = (
    *(Passage(f"short {at}", text, title=f"No. {at}") for at, text in enumerate(SENTENCES)),
    Passage("long", "The harbour was grey. " * 150 + SENTENCES[0] + " Gulls cried." * 100),
    Passage("untitled", SENTENCES[0].upper()),
    Passage("parent", " ".join(SENTENCES), context_only=True),
)


class CountingPool(TokenizerPool):
    """Remembers every text that it is asked to tokenize."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.encoded: list[str] = []

    async def encode(
        self, tokenizer: Tokenizer, texts: Sequence[str], call: Call, *, until: float = np.inf
    ) -> list[TokenIds]:
        self.encoded += texts
        return await super().encode(tokenizer, texts, call, until=until)

    async def encode_with_offsets(
        self, tokenizer: Tokenizer, text: str, call: Call
    ) -> tuple[TokenIds, NDArray[np.int32]]:
        self.encoded.append(text)
        return await super().encode_with_offsets(tokenizer, text, call)


@dataclass(frozen=True, slots=True)
class Stages:
    """A catalog and what works on it, with real models."""

    catalog: Catalog
    models: Models
    tokenizers: CountingPool
    ingester: Ingester
    reranker: Reranker
    two_stage: TwoStage

    async def collection(self) -> Collection:
        return await self.catalog.get("docs")

    async def search(
        self, options: RerankOptions | None = None, seconds: float = 30.0
    ) -> SearchResult:
        retrieval = RetrievalOptions(top_k=100, view=View.FULL)
        query = SearchQuery("docs", QUERY, retrieval, options or RerankOptions(), top_n=100)
        return await self.two_stage.search(query, call(seconds))


def call(seconds: float = 30.0) -> Call:
    return Call(time.monotonic() + seconds)


@pytest.fixture(scope="module")
def encoders() -> tuple[BiEncoder, CrossEncoder]:
    return (
        BiEncoder(read_artifact(MODELS / "all-minilm-l6-v2"), threads=2),
        CrossEncoder(read_artifact(MODELS / "minilm-l6-cross-encoder"), threads=2),
    )


@pytest.fixture
async def stages(tmp_path: Path, encoders: tuple[BiEncoder, CrossEncoder]) -> AsyncIterator[Stages]:
    models, limits = Models(encoders), Limits()
    catalog = await Catalog.open(tmp_path)
    batcher = Batcher(
        [{each.name: each for each in encoders}],
        BatchLimits(max_tokens=512, max_s=1.0),
        score_cache_bytes=0,
        metrics=Metrics(),
    )
    await asyncio.to_thread(batcher.start, asyncio.get_running_loop())
    tokenizers = CountingPool(threads=2)
    embedder = Embedder(models, batcher, tokenizers, limits)
    reranker = Reranker(LocalScorer(models, batcher, tokenizers, limits))
    yield Stages(
        catalog,
        models,
        tokenizers,
        Ingester(catalog, models, embedder, tokenizers, limits),
        reranker,
        TwoStage(
            Retriever(catalog, models, embedder, limits), reranker, ContextReader(catalog), limits
        ),
    )
    await asyncio.to_thread(batcher.close)
    tokenizers.close()
    await catalog.close()


@pytest.fixture
async def ingested(stages: Stages) -> Stages:
    """Ingest the passages as the server does."""
    await create(stages)
    await stages.ingester.upsert("docs", PASSAGES, call())
    stages.tokenizers.encoded.clear()
    return stages


async def create(stages: Stages, *, caller_embeds: bool = False) -> None:
    manifest = stages.models.bi_encoder().manifest
    await stages.catalog.create(
        CollectionSpec(
            "docs",
            manifest.name,
            "" if caller_embeds else manifest.fingerprint,
            manifest.dimension,
            Distance.COSINE,
            HnswOptions(),
            caller_embeds,
        )
    )


async def forget_tokens(stages: Stages) -> None:
    """Leave the passages as a version that kept no tokens would have stored them."""
    after: int | None = 0
    while after is not None:
        after = await (await stages.collection()).drop_other_tokens([], after)
    stages.tokenizers.encoded.clear()


def facts(ranked: Ranked | None) -> tuple[object, ...]:
    assert ranked is not None
    return (ranked.status, ranked.score, ranked.best_span, str(ranked.failure))


@pytest.mark.parametrize("way", list(LongPassage))
@pytest.mark.parametrize("max_passage_tokens", [0, 40])
async def test_a_search_scores_to_the_bit_as_a_rerank_of_the_texts_it_returns(
    ingested: Stages, way: LongPassage, max_passage_tokens: int
) -> None:
    options = RerankOptions(long_passage=way, max_passage_tokens=max_passage_tokens)

    found = await ingested.search(options)
    in_first_stage_order = sorted(found.hits, key=lambda hit: hit.retrieved.rank)
    again = await ingested.reranker.rank(
        QUERY,
        [
            Candidate(hit.retrieved.passage.text, hit.retrieved.passage.title, hit.retrieved.score)
            for hit in in_first_stage_order
        ],
        options,
        call(),
    )

    assert len(found.hits) == len(PASSAGES) - 1
    assert [facts(hit.ranked) for hit in found.hits] == [facts(each) for each in again.results]


async def test_a_search_tokenizes_its_query_alone(ingested: Stages) -> None:
    await ingested.search()

    assert ingested.tokenizers.encoded == [QUERY, QUERY], "once for each stage's model"


def told(hits: Sequence[SearchHit]) -> list[tuple[str, float, Ranked | None]]:
    """Return what an answer says of the hits."""
    return [(hit.retrieved.passage.id, hit.retrieved.score, hit.ranked) for hit in hits]


async def test_passages_without_kept_tokens_are_tokenized_and_score_the_same(
    ingested: Stages,
) -> None:
    with_tokens = await ingested.search()
    await forget_tokens(ingested)

    without = await ingested.search()

    assert told(without.hits) == told(with_tokens.hits)
    assert len(ingested.tokenizers.encoded) == 2 + len(without.hits)


async def test_ingest_tokenizes_once_for_two_models_of_one_tokenizer(stages: Stages) -> None:
    await create(stages)

    await stages.ingester.upsert("docs", PASSAGES, call())

    assert len(stages.tokenizers.encoded) == len(PASSAGES) - 1, "a context-only one is not read"


async def test_passages_that_bring_their_embedding_get_tokens_too(stages: Stages) -> None:
    await create(stages, caller_embeds=True)
    vector = np.ones(384, np.float32)

    await stages.ingester.upsert("docs", [Passage("a", "b c", embedding=vector)], call())

    model = stages.models.cross_encoder()
    [[found]] = await (await stages.collection()).search(
        vector[None], 1, tokens_of=model.tokens_key
    )
    assert found.tokens is not None
    assert model.unpack(found.tokens).tolist() == model.tokenizer.encode(["b c"])[0].tolist()


async def test_where_no_cross_encoder_is_loaded_nothing_is_kept_and_nothing_dropped(
    ingested: Stages, encoders: tuple[BiEncoder, CrossEncoder]
) -> None:
    alone = Models([encoders[0]])
    embedder = ingested.ingester._embedder
    ingester = Ingester(ingested.catalog, alone, embedder, ingested.tokenizers, Limits())

    await ingester.upsert("docs", [Passage("new", "of no tokens")], call())
    await TokenKeeper(ingested.catalog, alone, ingested.tokenizers).walk()

    lacking = await (await ingested.collection()).lacking_tokens([encoders[1].tokens_key], None)
    assert lacking.passages == [("", "of no tokens")]


async def test_the_keeper_makes_what_is_lacking_and_the_answer_stays(ingested: Stages) -> None:
    before = await ingested.search()
    await forget_tokens(ingested)

    await TokenKeeper(ingested.catalog, ingested.models, ingested.tokenizers).walk()
    ingested.tokenizers.encoded.clear()
    after = await ingested.search()

    assert after.hits == before.hits
    assert ingested.tokenizers.encoded == [QUERY, QUERY]


async def test_the_keeper_drops_what_no_model_reads(ingested: Stages) -> None:
    passage = Passage("other", "x", embedding=np.ones(384, np.float32))
    await (await ingested.collection()).upsert([passage], [passage.embedding], {"gone": [b"xyz"]})

    await TokenKeeper(ingested.catalog, ingested.models, ingested.tokenizers).walk()

    [found] = await (await ingested.collection()).search(
        np.ones((1, 384), np.float32), 1, tokens_of="gone"
    )
    assert [each.tokens for each in found] == [None]


async def test_the_keeper_passes_by_a_collection_that_is_deleted_under_it(
    ingested: Stages,
) -> None:
    class DeletingPool(TokenizerPool):
        async def encode(
            self, tokenizer: Tokenizer, texts: Sequence[str], call: Call, *, until: float = np.inf
        ) -> list[TokenIds]:
            await ingested.catalog.delete("docs")
            return await super().encode(tokenizer, texts, call, until=until)

    await forget_tokens(ingested)

    with capture_logs() as lines:
        await TokenKeeper(ingested.catalog, ingested.models, DeletingPool(1)).walk()

    assert [line["event"] for line in lines] == ["tokens not completed"]


async def test_the_keeper_ends_with_its_block(ingested: Stages) -> None:
    keeper = TokenKeeper(ingested.catalog, ingested.models, ingested.tokenizers)

    async with keeper.in_background():
        running = len(asyncio.all_tasks())

    assert len(asyncio.all_tasks()) < running


async def test_a_search_for_a_model_that_is_not_there_is_refused_before_it_retrieves(
    ingested: Stages,
) -> None:
    with pytest.raises(ModelNotFound):
        await ingested.search(RerankOptions(model="unknown"))

    assert ingested.tokenizers.encoded == []


class FullBatcher(Batcher):
    """Has room for nothing; remembers what was asked."""

    def __init__(self) -> None:
        self.asked: list[Sequence[int]] = []

    def room_for(
        self,
        model: str,
        lengths: Sequence[int],
        deadline: float,
        priority: Priority = Priority.INTERACTIVE,
        partial: bool = False,
        tenant: str = "default",
    ) -> AbstractContextManager[None]:
        self.asked.append(lengths)
        raise Overloaded("full", retry_after_s=1.0)

    async def run(self, work: Work) -> Done:
        return Done([np.float32(0.0)] * len(work.items), 0.0)


async def test_what_would_be_refused_is_refused_before_it_is_tokenized(
    ingested: Stages,
) -> None:
    full, pool, limits = FullBatcher(), ingested.tokenizers, Limits()
    embedder = Embedder(ingested.models, full, pool, limits)
    reranker = Reranker(LocalScorer(ingested.models, full, pool, limits))
    ingester = Ingester(ingested.catalog, ingested.models, embedder, pool, limits)

    with pytest.raises(Overloaded):
        await embedder.embed([QUERY, QUERY], Role.QUERY, call())
    with pytest.raises(Overloaded):
        await ingester.upsert("docs", PASSAGES, call())
    with pytest.raises(Overloaded):
        await reranker.rank(QUERY, [Candidate("x " * 2000), *TEXTS], RerankOptions(), call())

    assert pool.encoded == []
    assert [len(lengths) for lengths in full.asked] == [2, len(PASSAGES) - 1, 1 + len(TEXTS)]
    assert full.asked[2][0] <= 512
    model = ingested.models.cross_encoder()
    query, *encoded = model.tokenizer.encode([QUERY, *SENTENCES])
    for expected, ids in zip(full.asked[2][1:], encoded, strict=True):
        assert 0.4 < expected / (len(query) + len(ids) + 3) < 1.1


async def test_a_search_over_kept_tokens_is_left_to_the_queue_to_refuse(ingested: Stages) -> None:
    full = FullBatcher()
    reranker = Reranker(LocalScorer(ingested.models, full, ingested.tokenizers, Limits()))
    model = ingested.models.cross_encoder()
    tokens = [model.pack(ids) for ids in model.tokenizer.encode(SENTENCES)]
    given = [Candidate(text, tokens=each) for text, each in zip(SENTENCES, tokens, strict=True)]

    ranking = await reranker.rank(QUERY, given, RerankOptions(), call())

    assert len(ranking.results) == len(given)
    assert full.asked == []


@pytest.fixture
async def many(stages: Stages) -> Stages:
    """Ingest more than can be scored in a second: each fills the window."""
    await create(stages)
    vectors = np.random.default_rng(0).standard_normal((110, 384)).astype(np.float32)
    passages = [
        Passage(f"{at}", f"{at} {SENTENCES[at % 4]} " * 40, embedding=vectors[at])
        for at in range(110)
    ]
    await stages.ingester.upsert("docs", passages, call())
    return stages


async def test_a_partial_search_scores_the_nearest_and_keeps_the_order_of_the_rest(
    many: Stages,
) -> None:
    result = await many.search(RerankOptions(partial=True), seconds=1.0)

    ranks = [hit.retrieved.rank for hit in result.hits]
    scored = [hit for hit in result.hits if hit.ranked and hit.ranked.score is not None]
    assert result.partial
    assert 0 < len(scored) < len(result.hits) == 100
    assert sorted(ranks[: len(scored)]) == list(range(1, len(scored) + 1))
    assert ranks[len(scored) :] == list(range(len(scored) + 1, 101))


async def test_improbable_hits_are_left_out_of_a_partial_search_and_unscored_ones_are_not(
    many: Stages,
) -> None:
    result = await many.search(RerankOptions(partial=True, min_probability=0.999), seconds=1.0)

    judged = [hit.ranked for hit in result.hits if hit.ranked is not None]
    late = [each for each in judged if each.status is ScoreStatus.DEADLINE]
    assert result.partial
    assert late
    assert len(late) < 100, "some were scored"
    assert all(each.score.probability >= 0.999 for each in judged if each.score is not None)
