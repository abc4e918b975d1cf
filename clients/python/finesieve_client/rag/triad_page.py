"""Write triads as one HTML page that needs nothing else: no script, no font, no network."""

from collections.abc import Sequence
from html import escape

from finesieve.v1.passages_pb2 import Passage
from finesieve_client.rag.prompt import visible
from finesieve_client.rag.sources import Statement
from finesieve_client.rag.triad import Means, Triad, means

PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>RAG triad</title>
<style>
:root {{ color-scheme: light dark; }}
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: auto; padding: 1rem; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; padding: .3rem .6rem; border-bottom: 1px solid #8884; }}
th + th, td + td {{ text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }}
details {{ border: 1px solid #8884; border-radius: .4rem; padding: .5rem 1rem; margin: 1rem 0; }}
summary {{ cursor: pointer; font-weight: 600; }}
ul, ol {{ padding-left: 1.5rem; }}
.no {{ color: #b3261e; }}
.dim {{ opacity: .7; }}
@media (prefers-color-scheme: dark) {{ .no {{ color: #ff8a80; }} }}
</style>
</head>
<body>
<h1>RAG triad</h1>
<p class="dim">{about}</p>
{table}
{details}
</body>
</html>
"""


def page(triads: Sequence[Triad]) -> str:
    """Return the page: the means, a row for each question, and what each value comes from."""
    return PAGE.format(
        about=escape(_about(triads)),
        table=_table(triads),
        details="\n".join(map(_details, triads)),
    )


def value(number: float | None) -> str:
    """Return a value as the page and the terminal show it."""
    return "–" if number is None else f"{number:.2f}"


def _about(triads: Sequence[Triad]) -> str:
    judges = sorted({each.judge for each in triads if each.judge})
    by = f"judged by {', '.join(judges)}" if judges else "judged without a language model"
    refused = sum(each.refused for each in triads)
    return f"{len(triads)} answers, {refused} of them refusals; {by}. Every value is 0 to 1."


def _table(triads: Sequence[Triad]) -> str:
    header = _row("th", "question", "context relevance", "groundedness", "answer relevance")
    rows = [_row("td", each.question, *_values(each)) for each in triads]
    mean = _row("th", "mean", *_values(means(triads)))
    return "\n".join(["<table>", header, *rows, mean, "</table>"])


def _values(of: Triad | Means) -> list[str]:
    return [value(of.context_relevance), value(of.groundedness), value(of.answer_relevance)]


def _row(tag: str, *cells: str) -> str:
    return "<tr>" + "".join(f"<{tag}>{_text(cell)}</{tag}>" for cell in cells) + "</tr>"


def _details(triad: Triad) -> str:
    statements = [_statement(each) for each in triad.statements] or [
        f'<li class="dim">{_text(triad.answer)}</li>'
    ]
    passages = map(_passage, triad.passages, triad.relevance)
    return "\n".join(
        [
            f"<details><summary>{_text(triad.question)}</summary>",
            "<p>What the answer states:</p><ul>",
            *statements,
            "</ul><p>The passages it was given, with their probabilities:</p><ol>",
            *passages,
            "</ol></details>",
        ]
    )


def _statement(statement: Statement) -> str:
    if not statement.passages:
        return f'<li class="no">✗ {_text(statement.text)} <em>no passage supports this</em></li>'
    numbers = ", ".join(map(str, statement.passages))
    return f"<li>✓ {_text(statement.text)} [{numbers}]</li>"


def _passage(passage: Passage, probability: float) -> str:
    name = _text(passage.title or passage.id)
    return f"<li><strong>{name}</strong> {probability:.2f}<br>{_text(passage.text)}</li>"


def _text(text: str) -> str:
    return escape(visible(text))
