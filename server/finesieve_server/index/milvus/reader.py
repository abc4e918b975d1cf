"""Read a collection of Milvus in requests of bounded size. Everything here blocks."""

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from finesieve_server.index.allowance import Allowance
from finesieve_server.index.filters import Filter
from finesieve_server.index.milvus import schema
from finesieve_server.index.milvus.connection import Caller
from finesieve_server.index.milvus.expressions import (
    all_of,
    children_of,
    expression_of,
    id_after,
    id_in,
    in_documents,
)
from finesieve_server.index.records import Family, Neighbours, Passage, View, level_of

_PASSAGES_AT_A_TIME = 64  # 8 MB at most, of texts and metadata
_KEYS_AT_A_TIME = 8_192  # Milvus gives 16,384 rows at most


class Reader:
    """What one piece of work reads of one collection."""

    def __init__(self, call: Caller, milvus_name: str) -> None:
        self._call = call
        self._milvus_name = milvus_name

    def is_loaded(self) -> bool:
        """Return whether Milvus has it ready to search."""
        state = self._call("get_load_state", self._milvus_name)["state"]
        return bool(state.name == "Loaded")

    def count(self, expression: str = "") -> int:
        """Return how many passages the expression takes."""
        rows = self._call(
            "query",
            self._milvus_name,
            filter=expression,
            output_fields=["count(*)"],
            consistency_level=self._call.address.consistency,
        )
        return int(rows[0]["count(*)"])

    def get(self, ids: Sequence[str], view: View) -> list[Passage]:
        """Return passages in the order of the ids; missing ones are left out."""
        there = {each.id: each for each in self._in_steps(list(dict.fromkeys(ids)), view)}
        return [there[each] for each in ids if each in there]

    def ids(self, expression: str) -> set[str]:
        """Return the ids of the passages that the expression takes."""
        return {row["id"] for row in self.walk(expression, [])}

    def search(
        self,
        queries: Sequence[Any],
        top_k: int,
        field: str,
        params: Mapping[str, Any],
        taken: str,
        view: View,
    ) -> list[list[tuple[Passage, float]]]:
        """Return per query the passages nearest by a field, with Milvus's distances."""
        answers = self._call(
            "search",
            self._milvus_name,
            data=queries,
            anns_field=field,
            limit=top_k,
            filter=taken,
            search_params=params,
            output_fields=schema.fields_of(view),
            consistency_level=self._call.address.consistency,
        )
        return [
            [(schema.passage_of(hit["entity"], view), float(hit["distance"])) for hit in hits]
            for hits in answers
        ]

    def page(
        self, after: str, limit: int, max_bytes: int, condition: Filter | None, view: View
    ) -> tuple[list[Passage], bool]:
        """Return passages by id, and whether more follow."""
        taken = "" if condition is None else expression_of(condition)
        page: list[Passage] = []
        size = 0
        for row in self.walk(taken, schema.fields_of(view), after, limit + 1):
            passage = schema.passage_of(row, view)
            size += schema.bytes_of(passage)
            if len(page) == limit or (page and size > max_bytes):
                return page, True
            page.append(passage)
        return page, False

    def neighbours(
        self, of: Sequence[Passage], window: int, view: View, max_bytes: int
    ) -> list[Neighbours]:
        """Return what stands around each passage. Raises AnswerTooLarge."""
        around = self._around(of, window)
        times = Counter(each for before, after in around for each in (*before, *after))
        passages = self.read(times, view, max_bytes)

        def still_there(ids: Sequence[str]) -> list[Passage]:
            return [passages[each] for each in ids if each in passages]

        return [Neighbours(still_there(before), still_there(after)) for before, after in around]

    def read(
        self, times: Mapping[str, int], view: View, max_bytes: int | None
    ) -> dict[str, Passage]:
        """Return those passages of these ids that exist, by id. Raises AnswerTooLarge.

        `times` is how often the answer holds each.
        """
        passages: dict[str, Passage] = {}
        allowance = Allowance(max_bytes)
        for passage in self._in_steps(list(times), view):
            allowance.take(schema.bytes_of(passage) * times[passage.id])
            passages[passage.id] = passage
        return passages

    def family(self, parent_ids: Sequence[str], view: View) -> dict[str, Family]:
        """Return those of these passages that exist, with how many children each has."""
        parents = self.get(parent_ids, view)
        if not parents:
            return {}
        rows = self.walk(children_of(each.id for each in parents), ["parent_id"])
        children = Counter(row["parent_id"] for row in rows)
        return {each.id: Family(each, children[each.id]) for each in parents}

    def _in_steps(self, ids: Sequence[str], view: View) -> Iterator[Passage]:
        fields = schema.fields_of(view)
        step = _KEYS_AT_A_TIME if view is View.ID else _PASSAGES_AT_A_TIME
        for first in range(0, len(ids), step):
            for row in self.walk(id_in(ids[first : first + step]), fields):
                yield schema.passage_of(row, view)

    def walk(
        self,
        expression: str,
        fields: Sequence[str],
        after: str = "",
        limit: int | None = None,
    ) -> Iterator[Mapping[str, Any]]:
        """Yield the rows that the expression takes, by id, in requests of a bounded size."""
        most = _PASSAGES_AT_A_TIME if "text" in fields else _KEYS_AT_A_TIME
        while limit is None or limit > 0:
            step = most if limit is None else min(most, limit)
            rows = self._call(
                "query",
                self._milvus_name,
                filter=all_of(id_after(after), expression),
                output_fields=["id", *fields],
                limit=step,
                consistency_level=self._call.address.consistency,
                # In the order of the ids, as pymilvus's own iterator asks for them.
                iterator="True",
                reduce_stop_for_best="True",
            )
            yield from rows
            if len(rows) < step:
                return
            after = rows[-1]["id"]
            limit = None if limit is None else limit - step

    def _around(self, of: Sequence[Passage], window: int) -> list[tuple[list[str], list[str]]]:
        """Return the ids of up to `window` passages before and after each, in their order."""
        documents = sorted({each.document_id for each in of} - {""})
        places: dict[tuple[str, int], list[tuple[int, str]]] = {}
        if documents:
            fields = ["document_id", "ordinal", "parent_id", "context_only"]
            for row in self.walk(in_documents(documents), fields):
                level = level_of(context_only=bool(row["context_only"]), parent_id=row["parent_id"])
                place = row["ordinal"], row["id"]
                places.setdefault((row["document_id"], level), []).append(place)
        for level_of_document in places.values():
            level_of_document.sort()
        around = []
        for each in of:
            level = level_of(context_only=each.context_only, parent_id=each.parent_id)
            line = places.get((each.document_id, level), [])
            start = bisect_left(line, (each.ordinal, each.id))
            end = bisect_right(line, (each.ordinal, each.id))
            before, after = line[max(0, start - window) : start], line[end : end + window]
            around.append(([key for _, key in before], [key for _, key in after]))
        return around
