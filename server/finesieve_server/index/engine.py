"""Keep one collection's store and vectors equal. Everything here blocks; collection.py awaits it.

A write commits in the store and then shows in the vectors. A search reads both, and looks again
where a write came between. Words are searched in the store.
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from finesieve_server.errors import DataLoss
from finesieve_server.index.allowance import Allowance
from finesieve_server.index.database import translated
from finesieve_server.index.distances import comparable, comparable_passages
from finesieve_server.index.exact import Ranking
from finesieve_server.index.filters import Filter
from finesieve_server.index.folders import STORE
from finesieve_server.index.progress import Progress
from finesieve_server.index.reader import Reader
from finesieve_server.index.records import (
    CollectionSpec,
    Embedding,
    Family,
    Found,
    FoundIds,
    Labels,
    Matrix,
    Neighbours,
    Passage,
    Scores,
    Untokenized,
    Upserted,
    View,
    require_distinct,
    require_documents,
)
from finesieve_server.index.recovery import recover
from finesieve_server.index.retrieval import nearest
from finesieve_server.index.showing import Showing
from finesieve_server.index.store import Store, Writer, require_uid
from finesieve_server.index.upkeep import Shared, Upkeep
from finesieve_server.index.vectors import Vectors

Abandoned = Callable[[], bool]  # whether the caller of a read has given up

FREE_LOOKS = 3  # of a search that updates disturb, before it makes them wait


class Engine:
    """The store, vectors and upkeep of one collection. One thread writes, any number read."""

    def __init__(
        self,
        folder: Path,
        spec: CollectionSpec,
        writer: Executor,
        shared: Shared,
    ) -> None:
        """Open the store in the folder. Raises DataLoss where it is damaged, or another's."""
        self._folder = folder
        self._spec = spec
        self._writer = writer
        self._shared = shared
        self._upkeep: Upkeep | None = None
        self._showing = Showing()
        self.store = Store(folder / STORE)
        try:
            require_uid(self.store.path, folder.name, self.store.uid)
        except DataLoss:
            self.store.close()
            raise

    def recover(self, progress: Progress) -> None:
        """Bring the vectors to what the store holds: before any write or search, and once.

        Ends early with what `progress` raises. Raises DataLoss, StorageFull.
        """
        with translated(self.store.path):
            vectors = recover(self._folder, self.store, self._spec, progress)
        self._upkeep = Upkeep(
            self._folder, self.store, self._spec, vectors, self._writer, self._shared
        )
        self._upkeep.wake()

    @property
    def recovered(self) -> bool:
        return self._upkeep is not None

    @property
    def upkeep(self) -> Upkeep:
        assert self._upkeep is not None, "recover comes first"
        return self._upkeep

    def upsert(
        self,
        passages: Sequence[Passage],
        vectors: Sequence[Embedding | None],
        tokens: Mapping[str, Sequence[bytes | None]],
        replace_documents: bool,
    ) -> Upserted:
        """Store all passages or none; one vector each, None where context_only."""
        require_distinct(passages)
        if replace_documents:
            require_documents(passages)
        embeddings, found, matrix = comparable_passages(passages, vectors, self._spec)
        self.upkeep.make_room(len(matrix))
        shown = self.upkeep.vectors
        with ExitStack() as until_shown:
            with self.store.writing() as writer:
                replaced = gone = writer.labels_of([passage.id for passage in passages])
                if replace_documents:
                    documents = {passage.document_id for passage in passages}
                    gone = np.union1d(replaced, writer.labels_in(documents))
                writer.remove(gone)
                labels = writer.add(passages, embeddings)
                writer.tokens.add(labels.tolist(), tokens)
                shown.stage(labels[found], matrix)
                moves = bool(len(gone))
                until_shown.enter_context(self._showing.showing(moves=moves))
            shown.publish(len(matrix), gone)
        self.store.shorten_log()
        self.upkeep.wake()
        return Upserted(
            inserted=len(passages) - len(replaced),
            updated=len(replaced),
            removed=len(gone) - len(replaced),
        )

    def delete(self, ids: Sequence[str]) -> int:
        """Delete the passages of these ids that exist; return how many."""
        distinct = list(dict.fromkeys(ids))
        return self._remove(lambda writer: writer.labels_of(distinct))

    def delete_where(self, condition: Filter) -> int:
        """Delete all passages that the filter takes; return how many."""
        return self._remove(lambda writer: writer.reader().labels_matching(condition))

    def get(self, ids: Sequence[str], view: View, abandoned: Abandoned) -> list[Passage]:
        """Return passages in the order of the ids; missing ones are left out."""
        with self.store.reading(abandoned) as reader:
            return reader.by_ids(ids, view)

    def read(
        self,
        times: Mapping[str, int],
        view: View,
        tokens_of: str,
        allowance: Allowance,
        abandoned: Abandoned,
    ) -> list[tuple[Passage, bytes | None]]:
        """Return those passages of these ids that exist, and their tokens.

        `times` is how often the answer holds each. Raises AnswerTooLarge.
        """
        with self.store.reading(abandoned) as reader:
            labels = reader.labels_of(times)
            wanted = np.array(sorted(labels.values()), np.int64)
            if allowance.is_bounded:
                sizes = reader.sizes(wanted, view)
                allowance.take(sum(times[id_] * sizes[label] for id_, label in labels.items()))
            passages = reader.by_labels(wanted, view)
            tokens = reader.tokens.of(wanted, tokens_of) if tokens_of else {}
        return [(passages[label], tokens.get(label)) for label in labels.values()]

    def page(
        self,
        after: str,
        limit: int,
        max_bytes: int,
        condition: Filter | None,
        view: View,
        abandoned: Abandoned,
    ) -> tuple[list[Passage], bool]:
        """Return passages by id, and whether more follow."""
        with self.store.reading(abandoned) as reader:
            return reader.page(after, limit, max_bytes, condition, view)

    def neighbours(
        self,
        of: Sequence[Passage],
        window: int,
        view: View,
        max_bytes: int,
        abandoned: Abandoned,
    ) -> list[Neighbours]:
        """Return what stands around each passage. Raises AnswerTooLarge."""
        with self.store.reading(abandoned) as reader:
            around = reader.relatives.around(of, window)
            asked = [label for before, after in around for label in (*before, *after)]
            labels = np.unique(np.array(asked, np.int64))
            sizes = reader.sizes(labels, view)
            Allowance(max_bytes).take(sum(sizes[label] for label in asked))
            passages = reader.by_labels(labels, view)
        return [
            Neighbours([passages[each] for each in before], [passages[each] for each in after])
            for before, after in around
        ]

    def family(
        self, parent_ids: Sequence[str], view: View, abandoned: Abandoned
    ) -> dict[str, Family]:
        """Return those of these passages that exist, with how many children each has."""
        with self.store.reading(abandoned) as reader:
            parents = reader.by_ids(parent_ids, view)
            children = reader.relatives.children([each.id for each in parents])
        return {each.id: Family(each, children[each.id]) for each in parents}

    def search(
        self,
        queries: Sequence[Embedding] | Matrix,
        fields: Sequence[str],
        top_k: int,
        *,
        ef_search: int,
        exact: bool,
        condition: Filter | None,
        view: View,
        tokens_of: str,
        abandoned: Abandoned,
    ) -> Sequence[Sequence[Found]]:
        """Return per query the nearest passages, best first.

        Raises InvalidArgument naming the field of one that cannot be compared.
        """
        compared = comparable(list(queries), fields, self._spec.dimension, self._spec.distance)

        def look() -> tuple[Sequence[Sequence[Found]], bool]:
            # Without a filter all that matters is in `unread`: what the vectors show was asked for.
            moves = 0 if condition is None else self._showing.moves()
            vectors = self.upkeep.vectors
            published = vectors.slot_labels()  # before the reader, which thus sees all of them
            with self.store.reading(abandoned) as reader:
                rankings = nearest(
                    reader,
                    vectors,
                    published,
                    compared,
                    top_k,
                    considered=ef_search or self._spec.hnsw.ef_search,
                    exact=exact,
                    condition=condition,
                )
                found, unread = (
                    _named(reader, vectors, rankings)
                    if view is View.ID and not tokens_of
                    else _read(reader, vectors.labelled(rankings), view, tokens_of)
                )
            moved = condition is not None and self._showing.moved_since(moves)
            return found, unread or moved

        for _ in range(FREE_LOOKS):
            found, disturbed = look()
            if not disturbed:
                return found
        with self._showing.still():
            return look()[0]

    def search_lexical(
        self,
        queries: Sequence[str],
        top_k: int,
        *,
        condition: Filter | None,
        view: View,
        tokens_of: str,
        abandoned: Abandoned,
    ) -> Sequence[Sequence[Found]]:
        """Return per query the passages that share most with its words, best first."""
        with self.store.reading(abandoned) as reader:
            rankings = [reader.lexical.find(each, top_k, reader, condition) for each in queries]
            return _read(reader, rankings, view, tokens_of)[0]

    def lacking_tokens(self, keys: Sequence[str], after: int | None) -> Untokenized:
        """Return the next passages that lack tokens under any of the keys; None: go on."""
        with self.store.reading() as reader:
            return reader.tokens.lacking(keys, after, reader.last_label())

    def keep_tokens(self, found: Untokenized, tokens: Mapping[str, Sequence[bytes | None]]) -> None:
        """Keep tokens of passages that lacked them and are still there."""
        with self.store.writing() as writer:
            writer.tokens.add(found.labels, tokens)
            writer.tokens.note_walk(tokens, found.through)
        self.store.shorten_log()

    def drop_other_tokens(self, keys: Sequence[str], after: int) -> int | None:
        """Drop some of what is kept under other keys; return where to go on, None at the end."""
        with self.store.writing() as writer:
            dropped_to = writer.tokens.drop_others(keys, after)
        self.store.shorten_log()
        return dropped_to

    def close(self, *, save: bool) -> None:
        """Let go of everything; no write may be running. Waits for reads."""
        if save and self._upkeep is not None:
            self._upkeep.save_if_worth_it()
        self.store.close()
        if self._upkeep is not None:
            self._upkeep.vectors.close()

    def _remove(self, choose: Callable[[Writer], Labels]) -> int:
        with ExitStack() as until_shown:
            with self.store.writing() as writer:
                labels = choose(writer)
                writer.remove(labels)
                moves = bool(len(labels))
                until_shown.enter_context(self._showing.showing(moves=moves))
            self.upkeep.vectors.publish(0, labels)
        self.store.shorten_log()
        self.upkeep.wake()
        return len(labels)


def _named(
    reader: Reader, vectors: Vectors, rankings: Sequence[Ranking]
) -> tuple[Sequence[Sequence[Found]], bool]:
    """Return the ids of what each ranking found, and whether some of it is no longer there."""
    slots = np.concatenate([slots for slots, _ in rankings])
    ids = vectors.ids.of(slots, vectors.slot_labels(), reader)
    found, start = [], 0
    for _, scores in rankings:
        end = start + len(scores)
        found.append(FoundIds(ids[start:end], scores.tolist()))
        start = end
    disturbed = "" in ids
    return [each.there() for each in found] if disturbed else found, disturbed


def _read(
    reader: Reader, rankings: Sequence[tuple[Labels, Scores]], view: View, tokens_of: str
) -> tuple[Sequence[Sequence[Found]], bool]:
    """Return what each ranking found, and whether some of it is no longer there."""
    wanted = {label for labels, _ in rankings for label in labels.tolist()}
    labels = np.array(sorted(wanted), np.int64)
    passages = reader.by_labels(labels, view)
    tokens = reader.tokens.of(labels, tokens_of) if tokens_of else {}
    found = [
        [
            Found(passages[label], score, tokens.get(label))
            for label, score in zip(labels.tolist(), scores.tolist(), strict=True)
            if label in passages
        ]
        for labels, scores in rankings
    ]
    return found, len(passages) < len(wanted)
