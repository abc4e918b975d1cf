"""RetrievalService: collections, their passages, and the first stage alone."""

import time
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator
from dataclasses import replace

from finesieve.v1 import passages_pb2, retrieval_pb2
from finesieve_server.errors import InvalidArgument
from finesieve_server.rpc import answers, requests
from finesieve_server.rpc.filters import read_filter
from finesieve_server.rpc.loading import Loading
from finesieve_server.rpc.pages import Listing
from finesieve_server.rpc.passages import read_ids, read_passages
from finesieve_server.rpc.streams import answered
from finesieve_server.rpc.turns import Turns
from finesieve_server.rpc.visit import Visit
from finesieve_server.search.call import Call
from finesieve_server.search.collections import Collections
from finesieve_server.search.index import Catalog
from finesieve_server.search.ingester import Ingester
from finesieve_server.search.limits import Limits
from finesieve_server.search.retriever import RetrievalOptions, Retriever

DEFAULT_TOP_K = 10
DEFAULT_PAGE_SIZE = 100
MAX_PAGE_BYTES = 3 * 1024 * 1024


class RetrievalService:
    """Reads requests for the collections and the retriever, and writes what they found."""

    def __init__(
        self,
        catalog: Catalog,
        collections: Collections,
        ingester: Ingester,
        retriever: Retriever,
        limits: Limits,
    ) -> None:
        self._catalog = catalog
        self._collections = collections
        self._ingester = ingester
        self._retriever = retriever
        self._limits = limits

    async def CreateCollection(
        self, request: retrieval_pb2.CreateCollectionRequest, _call: Call
    ) -> retrieval_pb2.CreateCollectionResponse:
        info = await self._collections.create(
            requests.collection_name(request.name, "name"),
            embedding_model=request.embedding_model,
            dimension=request.dimension,
            distance=requests.distance(request.distance),
            hnsw=requests.hnsw(request.hnsw, self._limits),
            caller_embeds=request.caller_embeds,
        )
        return retrieval_pb2.CreateCollectionResponse(collection=answers.collection(info))

    async def GetCollection(
        self, request: retrieval_pb2.GetCollectionRequest, _call: Call
    ) -> retrieval_pb2.GetCollectionResponse:
        info = await self._collections.get(requests.collection_name(request.name, "name"))
        return retrieval_pb2.GetCollectionResponse(collection=answers.collection(info))

    async def ListCollections(
        self, request: retrieval_pb2.ListCollectionsRequest, call: Call
    ) -> retrieval_pb2.ListCollectionsResponse:
        listing = Listing.of(b"collections", call.tenant.encode())
        size = self._page_size(request.page_size)
        page = await self._collections.page(listing.after(request.page_token), size + 1)
        more = len(page) > size
        return retrieval_pb2.ListCollectionsResponse(
            collections=[answers.collection(info) for info in page[:size]],
            next_page_token=listing.token(page[size - 1].spec.name) if more else "",
        )

    async def DeleteCollection(
        self, request: retrieval_pb2.DeleteCollectionRequest, _call: Call
    ) -> retrieval_pb2.DeleteCollectionResponse:
        await self._collections.delete(requests.collection_name(request.name, "name"))
        return retrieval_pb2.DeleteCollectionResponse()

    async def UpsertPassages(
        self, request: retrieval_pb2.UpsertPassagesRequest, call: Call
    ) -> retrieval_pb2.UpsertPassagesResponse:
        collection = requests.collection_name(request.collection)
        passages = await Turns().collect(read_passages(request.passages, self._limits))
        upserted = await self._ingester.upsert(
            collection, passages, call, replace_documents=request.replace_documents
        )
        return retrieval_pb2.UpsertPassagesResponse(
            inserted=upserted.inserted, updated=upserted.updated, removed=upserted.removed
        )

    def StreamUpsertPassages(
        self, incoming: AsyncIterator[retrieval_pb2.StreamUpsertPassagesRequest], visit: Visit
    ) -> AsyncGenerator[retrieval_pb2.StreamUpsertPassagesResponse, None]:
        loading = Loading(self._ingester, self._limits, visit)
        return answered(incoming, loading.load, width=Loading.MAX_IN_FLIGHT, in_order=True)

    async def DeletePassages(
        self, request: retrieval_pb2.DeletePassagesRequest, _call: Call
    ) -> retrieval_pb2.DeletePassagesResponse:
        collection = await self._catalog.get(requests.collection_name(request.collection))
        if bool(request.ids) == request.HasField("filter"):
            raise InvalidArgument("ids", "and filter: exactly one of them is needed")
        if request.ids:
            ids = read_ids(request.ids, self._limits.max_passages)
            deleted = await collection.delete(ids)
        else:
            deleted = await collection.delete_where(read_filter(request.filter, self._limits))
        return retrieval_pb2.DeletePassagesResponse(deleted=deleted)

    async def GetPassages(
        self, request: retrieval_pb2.GetPassagesRequest, _call: Call
    ) -> retrieval_pb2.GetPassagesResponse:
        collection = await self._catalog.get(requests.collection_name(request.collection))
        ids = read_ids(request.ids, self._limits.max_passages)
        view = requests.view(request.view)
        passages = await collection.get(ids, view)
        found = {passage.id for passage in passages}
        return retrieval_pb2.GetPassagesResponse(
            passages=await answers.Room().collect(
                answers.passage(passage, view) for passage in passages
            ),
            missing_ids=[each for each in ids if each not in found],
        )

    async def ListPassages(
        self, request: retrieval_pb2.ListPassagesRequest, call: Call
    ) -> retrieval_pb2.ListPassagesResponse:
        collection = await self._catalog.get(requests.collection_name(request.collection))
        view = requests.view(request.view)
        filter_bytes = request.filter.SerializeToString(deterministic=True)
        listing = Listing.of(
            b"passages",
            call.tenant.encode(),
            request.collection.encode(),
            b"filtered" if request.HasField("filter") else b"",
            filter_bytes,
            view.name.encode(),
        )
        passages, more = await collection.page(
            listing.after(request.page_token),
            self._page_size(request.page_size),
            MAX_PAGE_BYTES,
            read_filter(request.filter, self._limits) if request.HasField("filter") else None,
            view,
        )
        messages = (answers.passage(passage, view) for passage in passages)
        page = await Turns().collect(_within_a_page(messages))
        more = more or len(page) < len(passages)
        return retrieval_pb2.ListPassagesResponse(
            passages=page, next_page_token=listing.token(page[-1].id) if more else ""
        )

    async def Retrieve(
        self, request: retrieval_pb2.RetrieveRequest, call: Call
    ) -> retrieval_pb2.RetrieveResponse:
        started = time.perf_counter()
        collection = requests.collection_name(request.collection)
        options = self._options(request)
        queries = [requests.query(request, "query")]
        [hits] = await self._retriever.retrieve(collection, queries, options, call)
        answer = retrieval_pb2.RetrieveResponse()
        await answers.Room().collect(answers.retrieved(hits, options.view, answer.hits))
        answer.timings.CopyFrom(answers.timings(call.times, time.perf_counter() - started))
        return answer

    async def BatchRetrieve(
        self, request: retrieval_pb2.BatchRetrieveRequest, call: Call
    ) -> retrieval_pb2.BatchRetrieveResponse:
        started = time.perf_counter()
        collection = requests.collection_name(request.collection)
        options = self._options(request)
        requests.check_count("queries", request.queries, self._limits.max_queries)
        paths = [f"queries[{at}]" for at in range(len(request.queries))]
        queries = list(map(requests.query, request.queries, paths))
        if options.filter is None:  # under one, nobody knows how few match
            info = await self._collections.get(collection)
            answers.check_hits(len(queries) * min(options.top_k, info.passage_count))
        results = await self._retriever.retrieve(
            collection, queries, options, call, paths=[f"{path}." for path in paths]
        )
        answer = retrieval_pb2.BatchRetrieveResponse()
        await answers.Room().collect(
            answers.retrieved_for_each(results, options.view, answer.results)
        )
        answer.timings.CopyFrom(answers.timings(call.times, time.perf_counter() - started))
        return answer

    def _options(
        self, request: retrieval_pb2.RetrieveRequest | retrieval_pb2.BatchRetrieveRequest
    ) -> RetrievalOptions:
        options = requests.retrieval_options(
            request.options,
            "options",
            top_k=requests.within("top_k", request.top_k, DEFAULT_TOP_K, 1, self._limits.max_top_k),
            filter_message=request.filter if request.HasField("filter") else None,
            view=requests.view(request.view),
            limits=self._limits,
        )
        return replace(options, max_bytes=answers.MAX_ANSWER_BYTES)

    def _page_size(self, asked: int) -> int:
        """Return the size asked for; as usual for pages, too large a one is cut, not refused."""
        return min(asked or DEFAULT_PAGE_SIZE, self._limits.max_page_size)


def _within_a_page(passages: Iterable[passages_pb2.Passage]) -> Iterator[passages_pb2.Passage]:
    """Yield the first passages that fit into a page, at least one: metadata grows on the wire."""
    size = 0
    for already, passage in enumerate(passages):
        size += passage.ByteSize()
        if already and size > MAX_PAGE_BYTES:
            return
        yield passage
