"""Store documents in a collection, each one whole: what it no longer holds is removed.

The server is the checkpoint, as for rows: of every batch it is first asked what it has of these
documents, and those that are the same there are not sent. A document that fits into one call is
replaced in one transaction: nobody sees half of it. A longer one is added first, and what is left
over of its earlier version removed after that: meanwhile old and new passages are found side by
side, but never none. A run that was interrupted in between is repaired by the next one, since the
document is not the same there.
"""

import re
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from functools import partial, reduce
from operator import or_

from finesieve.v1.passages_pb2 import Passage
from finesieve.v1.retrieval_pb2 import ListPassagesResponse, UpsertPassagesResponse
from finesieve_client.async_client import AsyncClient
from finesieve_client.batches import Reader, written
from finesieve_client.calls import corpus
from finesieve_client.calls.call import Call
from finesieve_client.documents import BadDocument, Document, Outcome, batches, parts
from finesieve_client.errors import DeadlineExceeded, FinesieveError, InvalidArgument
from finesieve_client.filters import document
from finesieve_client.patience import Patience

AHEAD = 4  # documents that are cut before they can be stored
_MOST_IDS = 1_000  # of one call

_POSITION = re.compile(r"passages\[(\d+)\]")


async def store_documents(
    client: AsyncClient,
    collection: str,
    documents: Iterable[Document | BadDocument],
    *,
    stalled: Callable[[FinesieveError], None] = lambda _: None,
) -> AsyncGenerator[Outcome, None]:
    """Store documents in a collection that exists; yields each batch's outcome as it is known.

    A document that the server refuses comes back as a bad one with its reason; the others of its
    batch are stored. `documents` are read by another thread. `stalled` is told once what a server
    says that has to be waited for. Raises FinesieveError where going on is useless: what was
    yielded is durable; and what `documents` raised, after what came before is stored.
    """
    described = await client.get_collection(collection)
    was_empty = described.collection.passage_count == 0
    writer = DocumentWriter(client, collection, was_empty=was_empty, patience=Patience(stalled))
    reader = Reader(documents, ahead=AHEAD)
    async with aclosing(written(reader, batches(reader), writer.write)) as outcomes:
        async for outcome in outcomes:
            yield outcome


class DocumentWriter:
    """Writes batches of documents to one collection."""

    def __init__(
        self, client: AsyncClient, collection: str, *, was_empty: bool, patience: Patience
    ) -> None:
        self._client = client
        self._collection = collection
        self._was_empty = was_empty
        self._patience = patience

    async def write(self, batch: Sequence[Document | BadDocument]) -> Outcome:
        """Store what of a batch is good and not there yet."""
        documents = [each for each in batch if isinstance(each, Document)]
        bad = [each for each in batch if isinstance(each, BadDocument)]
        outcome = Outcome(
            bad=bad,
            removed=await self._remove([each.emptied_id for each in bad if each.emptied_id]),
            warnings=[(each.path, warning) for each in documents for warning in each.warnings],
        )
        stored = await self._stored(documents)
        changed = [each for each in documents if not _same(each.passages, stored[each.id])]
        outcome.unchanged = len(documents) - len(changed)
        if len(changed) == 1 and not changed[0].fits_into_one_call:
            outcome += await self._store_long(changed[0], stored[changed[0].id])
        elif changed:
            outcome += await self._replace(changed, stored)
        return outcome

    async def _remove(self, document_ids: Sequence[str]) -> int:
        """Remove what the collection has of these documents; return how many passages."""
        if self._was_empty or not document_ids:
            return 0
        any_of = reduce(or_, [document(each) for each in document_ids])
        answer = await self._patience.call(
            partial(self._client.delete_passages, self._collection, filter=any_of)
        )
        return answer.deleted

    async def _stored(self, documents: Sequence[Document]) -> dict[str, dict[str, Passage]]:
        """Return what the collection has of these documents: passages by id, by document."""
        stored: dict[str, dict[str, Passage]] = {each.id: {} for each in documents}
        if self._was_empty or not documents:
            return stored
        any_of = reduce(or_, [document(each.id) for each in documents])
        call: Call[ListPassagesResponse] | None
        call = corpus.list_passages(self._collection, filter=any_of, page_size=_MOST_IDS)
        while call is not None:
            page = await self._patience.call(partial(self._client.call, call))
            for passage in page.passages:
                stored[passage.document_id][passage.id] = passage
            call = call.page_after(page)
        return stored

    async def _replace(
        self, documents: Sequence[Document], stored: dict[str, dict[str, Passage]]
    ) -> Outcome:
        """Store documents in one transaction, without what else there was of them."""
        passages = [passage for each in documents for passage in each.passages]
        try:
            answer = await self._upsert(passages, replace_documents=True)
        except InvalidArgument as error:
            refused = _refused(documents, error)
            if not refused:
                return await self._replace_halves(documents, stored)
            rest = [each for each in documents if each.id not in refused]
            outcome = Outcome(
                bad=[
                    BadDocument(each.path, refused[each.id])
                    for each in documents
                    if each.id in refused
                ]
            )
            if rest:
                outcome += await self._replace(rest, stored)
            return outcome
        except DeadlineExceeded:
            if len(documents) == 1:
                return await self._store_long(documents[0], stored[documents[0].id])
            return await self._replace_halves(documents, stored)
        return Outcome(documents=len(documents), stored=len(passages), removed=answer.removed)

    async def _replace_halves(
        self, documents: Sequence[Document], stored: dict[str, dict[str, Passage]]
    ) -> Outcome:
        half = len(documents) // 2
        outcome = await self._replace(documents[:half], stored)
        outcome += await self._replace(documents[half:], stored)
        return outcome

    async def _store_long(self, document: Document, stored: dict[str, Passage]) -> Outcome:
        """Add what is new of a document, part by part, then remove what it no longer holds."""
        new = [each for each in document.passages if each != stored.get(each.id)]
        stale = sorted(stored.keys() - {each.id for each in document.passages})
        removed = 0
        try:
            for part in parts(new):
                await self._add(part)
        except InvalidArgument as error:
            reason = "; ".join(each.description for each in error.violations) or error.message
            return Outcome(bad=[BadDocument(document.path, f"stored in part: {reason}")])
        for at in range(0, len(stale), _MOST_IDS):
            ids = stale[at : at + _MOST_IDS]
            answer = await self._patience.call(
                partial(self._client.delete_passages, self._collection, ids=ids)
            )
            removed += answer.deleted
        return Outcome(documents=1, stored=len(new), removed=removed)

    async def _add(self, passages: Sequence[Passage]) -> None:
        try:
            await self._upsert(passages, replace_documents=False)
        except DeadlineExceeded:
            if len(passages) == 1:
                raise
            half = len(passages) // 2
            await self._add(passages[:half])
            await self._add(passages[half:])

    async def _upsert(
        self, passages: Sequence[Passage], *, replace_documents: bool
    ) -> UpsertPassagesResponse:
        return await self._patience.call(
            partial(
                self._client.upsert_passages,
                self._collection,
                passages,
                replace_documents=replace_documents,
            )
        )


def _same(passages: Sequence[Passage], stored: dict[str, Passage]) -> bool:
    """Tell whether the server has just these passages of a document."""
    return {each.id: each for each in passages} == stored


def _refused(documents: Sequence[Document], error: InvalidArgument) -> dict[str, str]:
    """Return the documents that the server found at fault, and why; none where it does not say."""
    owners = [(each.id, passage.id) for each in documents for passage in each.passages]
    refused: dict[str, str] = {}
    for violation in error.violations:
        if position := _POSITION.match(violation.field):
            owner, passage_id = owners[int(position.group(1))]
            named = violation.field[position.end() :].removeprefix(".")
            refused.setdefault(owner, f"passage {passage_id}: {named} {violation.description}")
    if not refused and len(documents) == 1:
        return {documents[0].id: error.message}
    return refused
