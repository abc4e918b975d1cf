"""Answer without a language model: the sentences found that say most of the question.

Every sentence is quoted as it stands, with the passage it is from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from finesieve_client.rag.citations import Citation, citation_of, in_parentheses
from finesieve_client.rag.prompt import visible
from finesieve_client.rag.quotes import Quotes, best_part
from finesieve_client.rag.sentences import sentences
from finesieve_client.rag.sources import Quote, Source

MAX_SENTENCES = 3
MAX_SOURCES = 5
# A sentence is left out that says less of the question than this share of what the best one says.
_LEAST_SHARE = 0.5
# What a quoted text has in brackets would read as a citation of ours.


@dataclass(frozen=True, slots=True)
class Extract:
    """An answer made of quotations, one a line, and what it cites."""

    text: str
    citations: tuple[Citation, ...]


def extract(question: str, sources: Sequence[Source]) -> Extract:
    """Return the best sentences of the sources, those of the likelier ones first."""
    lines: list[str] = []
    citations: list[Citation] = []
    length = 0
    for quote in best_quotes(question, sources):
        quoted = in_parentheses(visible(quote.text))
        line = f"{quoted} [{quote.source.number}]"
        statement = (length, length + len(quoted))
        citations.append(citation_of(quote.source.number, quote, statement))
        lines.append(line)
        length += len(line) + 1
    return Extract("\n".join(lines), tuple(citations))


def best_quotes(question: str, sources: Sequence[Source]) -> list[Quote]:
    """Return the sentences of the best sources that say most of a question, at most three.

    A sentence counts by the words it shares with the question and by its source's probability,
    inside the chunk that its source was found for double. Where none shares a word: the first
    sentence of the best source's chunk.
    """
    weighed = [
        (each.score * _weight(each.quote), each.quote)
        for each in Quotes(sources[:MAX_SOURCES]).scored(question)
    ]
    weighed.sort(key=lambda each: -each[0])
    best = weighed[0][0] if weighed else 0.0
    if best <= 0:
        return [_first_sentence(best_part(sources[0]))]
    chosen = [quote for weight, quote in weighed[:MAX_SENTENCES] if weight >= best * _LEAST_SHARE]
    return sorted(chosen, key=lambda quote: (quote.source.number, quote.span))


def _weight(quote: Quote) -> float:
    """Return what a sentence counts by where it stands."""
    source = quote.source
    probability = 1 / source.number if source.probability is None else source.probability
    best = source.hit.best_span
    inside = quote.passage.id == source.passage_id and best.start <= quote.span[0] < best.end
    return probability * (2 if inside else 1)


def _first_sentence(quote: Quote) -> Quote:
    first = sentences(quote.passage.text, *quote.span)[:1] or [quote.span]
    return Quote(quote.source, quote.passage, first[0])
