"""Write the requests of the benchmark as they travel, and read what came back."""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.retrieval.corpus import Corpus
from finesieve.v1 import passages_pb2, results_pb2, retrieval_pb2
from finesieve_client.filters import field, filter_message

COLLECTION = "bench"
BATCH = 1_000  # passages of one upsert, queries of one BatchRetrieve
RANK = "rank"  # a number that each passage has alone: filters take those below one
TOP_K = 10

Matrix = NDArray[np.float32]


def upserts(corpus: Corpus, start: int, stop: int) -> Iterator[bytes]:
    """Give the batches of a load over one stream."""
    texts = corpus.texts(start, stop)
    for first in range(start, stop, BATCH):
        last = min(first + BATCH, stop)
        vectors = np.ascontiguousarray(corpus.vectors[first:last])
        message = retrieval_pb2.StreamUpsertPassagesRequest(collection=COLLECTION)
        for number, vector in zip(range(first, last), vectors, strict=True):
            passage = message.passages.add(
                id=str(number), text=next(texts), embedding=_embedding(vector)
            )
            passage.metadata.fields[RANK].number_value = float(corpus.ranks[number])
        yield message.SerializeToString()


def queries(
    vectors: Matrix, options: results_pb2.RetrievalOptions, below: int | None = None
) -> list[bytes]:
    """Return a Retrieve of each vector, ids alone; `below`: of passages with a lower rank."""
    return [
        retrieval_pb2.RetrieveRequest(
            collection=COLLECTION,
            embedding=_embedding(vector),
            top_k=TOP_K,
            options=options,
            view=passages_pb2.PASSAGE_VIEW_ID,
            filter=_below(below),
        ).SerializeToString()
        for vector in vectors
    ]


def questions(texts: Sequence[str], mode: results_pb2.RetrievalMode) -> list[bytes]:
    """Return a Retrieve of each text in a mode that needs no embedding, ids alone."""
    return [
        retrieval_pb2.RetrieveRequest(
            collection=COLLECTION,
            text=text,
            top_k=TOP_K,
            options=results_pb2.RetrievalOptions(mode=mode),
            view=passages_pb2.PASSAGE_VIEW_ID,
        ).SerializeToString()
        for text in texts
    ]


def batches(vectors: Matrix, ef_search: int) -> list[bytes]:
    """Return as few BatchRetrieves as hold all vectors, ids alone."""
    return [
        retrieval_pb2.BatchRetrieveRequest(
            collection=COLLECTION,
            queries=[
                retrieval_pb2.RetrievalQuery(embedding=_embedding(vector))
                for vector in vectors[first : first + BATCH]
            ],
            top_k=TOP_K,
            options=results_pb2.RetrievalOptions(ef_search=ef_search),
            view=passages_pb2.PASSAGE_VIEW_ID,
        ).SerializeToString()
        for first in range(0, len(vectors), BATCH)
    ]


def found(answer: bytes) -> list[int]:
    """Return the numbers of the passages that a Retrieve found, best first."""
    return _numbers(retrieval_pb2.RetrieveResponse.FromString(answer).hits)


def all_found(answers: Sequence[bytes]) -> list[list[int]]:
    """Return per query the numbers of the passages that BatchRetrieves found."""
    read = map(retrieval_pb2.BatchRetrieveResponse.FromString, answers)
    return [_numbers(result.hits) for answer in read for result in answer.results]


def server_s(answer: bytes) -> float:
    """Return how long the server says that a Retrieve took it."""
    return retrieval_pb2.RetrieveResponse.FromString(answer).timings.total_us / 1e6


def _numbers(hits: Sequence[results_pb2.Hit]) -> list[int]:
    return [int(hit.passage.id) for hit in hits]


def _embedding(vector: NDArray[np.float32]) -> passages_pb2.Embedding:
    return passages_pb2.Embedding(values=vector.tolist())


def _below(rank: int | None) -> passages_pb2.Filter | None:
    return None if rank is None else filter_message(field(RANK) < rank)
