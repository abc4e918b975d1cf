"""`finesieve ingest --chunk`: read files and folders, cut them, store each document whole."""

import asyncio
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from finesieve.v1.passages_pb2 import Collection
from finesieve_client.async_client import AsyncClient
from finesieve_client.chunking import ChunkOptions, UnreadableFile, chunk
from finesieve_client.chunking.chunker import DEFAULT_PARENTS_SIZE, DEFAULT_SIZE
from finesieve_client.chunking.files import find_files
from finesieve_client.chunking.names import shown
from finesieve_client.chunking.reading import read_file
from finesieve_client.chunking.source import NoText
from finesieve_client.cli.destination import make_where_missing, say_what_is_waited_for
from finesieve_client.cli.session import Session
from finesieve_client.cli.terminal import plain, progress_bar, say, write_json
from finesieve_client.document_ingestion import store_documents
from finesieve_client.documents import BadDocument, Document, Outcome
from finesieve_client.errors import FinesieveError
from finesieve_client.patience import Patience
from finesieve_client.token_counting import TokenCounter

OVERLAP_SHARE = 8
BAD_SHOWN = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """How to cut, as it was asked; what was left open depends on the model."""

    size: int | None
    overlap: int | None
    parents: bool
    language: str

    def options(self, window: int = DEFAULT_SIZE) -> ChunkOptions:
        """Return the options for a model with this window; raises ValueError."""
        default = DEFAULT_PARENTS_SIZE if self.parents else DEFAULT_SIZE
        size = min(default, window) if self.size is None else self.size
        overlap = size // OVERLAP_SHARE if self.overlap is None else self.overlap
        return ChunkOptions(size, overlap, self.parents, self.language)


class DocumentLoad:
    """Some documents on their way into one collection, and what has become of them so far."""

    def __init__(
        self, paths: Sequence[str], include: Sequence[str], collection: str, asked: Asked
    ) -> None:
        """Find the documents; raises ValueError for what was asked wrongly, and OSError."""
        asked.options()
        if "-" in paths:
            raise ValueError("standard input has no name, and a document needs one: give files")
        self.collection = collection
        self.total = Outcome()
        self._asked = asked
        self._found = find_files([Path(path) for path in paths], include)

    def run(self, session: Session, embedding_model: str) -> None:
        """Store the documents, with a bar; says what is stored also where it ends too early."""
        try:
            asyncio.run(self._run(session, embedding_model))
        except (KeyboardInterrupt, FinesieveError, OSError):
            if self.total.done:
                say(f"{self.summary()}; the same command goes on from there")
            raise
        say(self.summary())
        if session.as_json:
            write_json(self.as_values())

    def show(self) -> None:
        """Write the passages to standard output as JSON lines, and store nothing."""
        for each in self._documents(self._asked.options()):
            if isinstance(each, BadDocument):
                self._take(Outcome(bad=[each]))
                continue
            warnings = [(each.path, warning) for warning in each.warnings]
            self._take(Outcome(documents=1, stored=len(each.passages), warnings=warnings))
            for passage in each.passages:
                sys.stdout.write(json.dumps(plain(passage), ensure_ascii=False) + "\n")
        say(f"{self.summary()}; nothing was stored: this was a dry run")

    async def _run(self, session: Session, embedding_model: str) -> None:
        async with session.async_client() as client:
            collection = await make_where_missing(client, self.collection, embedding_model)
            documents = self._documents(await self._options(client, collection))
            with progress_bar() as progress:
                num_files = len(self._found.files) + len(self._found.refused)
                bar = progress.add_task(f"into {self.collection}", total=num_files)
                async for outcome in store_documents(
                    client, self.collection, documents, stalled=say_what_is_waited_for
                ):
                    self._take(outcome)
                    progress.advance(bar, outcome.done)

    async def _options(self, client: AsyncClient, collection: Collection) -> ChunkOptions:
        """Return how to cut for the collection's model, which counts."""
        model = collection.embedding_model
        if collection.caller_embeds:
            raise ValueError(
                f"the passages of {collection.name} bring their embeddings; "
                "ingest them as JSON lines with `embedding`"
            )
        counter = TokenCounter(client, model, Patience(say_what_is_waited_for))
        described = await counter.ask(["a"])
        options = self._asked.options(described.max_tokens)
        if options.size > described.max_tokens:
            say(
                f"--size {options.size} is more than {model} reads ({described.max_tokens} "
                "tokens): what is beyond them will not be found by meaning"
            )
        return replace(options, count_tokens=counter, added_tokens=described.added_tokens)

    def _documents(self, options: ChunkOptions) -> Iterator[Document | BadDocument]:
        for path, reason in self._found.refused:
            yield BadDocument(shown(path), reason)
        for document_id, path in self._found.files.items():
            try:
                yield read_document(document_id, path, options)
            except NoText as error:
                yield BadDocument(shown(path), str(error), emptied_id=document_id)
            except UnreadableFile as error:
                yield BadDocument(shown(path), str(error))
            except OSError as error:
                yield BadDocument(shown(path), error.strerror or str(error))

    def _take(self, outcome: Outcome) -> None:
        for path, warning in outcome.warnings:
            say(f"{path}: {warning}")
        for each in outcome.bad[: max(0, BAD_SHOWN - len(self.total.bad))]:
            say(f"{each.path}: not stored: {each.reason}")
        self.total += outcome

    def as_values(self) -> dict[str, object]:
        """Return what became of the documents as plain values."""
        total = self.total
        return {
            "collection": self.collection,
            "documents": total.documents,
            "unchanged": total.unchanged,
            "passages": total.stored,
            "removed": total.removed,
            "bad": [
                {"path": each.path, "reason": each.reason}
                for each in sorted(total.bad, key=lambda each: each.path)
            ],
            "warnings": [f"{path}: {warning}" for path, warning in sorted(total.warnings)],
            "left_aside": dict(self._found.left_aside),
        }

    def summary(self) -> str:
        """Return what became of the documents in one line."""
        total = self.total
        parts = [f"{total.documents:,} documents stored in {total.stored:,} passages"]
        if total.unchanged:
            parts.append(f"{total.unchanged:,} were there already")
        if total.removed:
            parts.append(f"{total.removed:,} passages removed that they no longer hold")
        if total.bad:
            parts.append(f"{len(total.bad):,} not stored")
        if kinds := self._found.left_aside:
            named = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(5))
            parts.append(f"{kinds.total():,} files of other kinds left aside ({named})")
        return f"{self.collection or 'documents'}: {', '.join(parts)}"


def read_document(document_id: str, path: Path, options: ChunkOptions) -> Document:
    """Return a file as a document; raises UnreadableFile and OSError."""
    source = read_file(path)
    name = shown(path)
    passages = chunk(
        source, document_id, title=shown(path.stem), metadata={"source": name}, options=options
    )
    odd = () if name == str(path) else (f"its name is not UTF-8; stored as {document_id}",)
    return Document(document_id, name, passages, (*odd, *source.warnings))
