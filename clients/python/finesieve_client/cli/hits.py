"""How a hit looks: its title, its text, its score, and how far reranking moved it."""

from rich.text import Text

from finesieve.v1.passages_pb2 import Passage
from finesieve.v1.results_pb2 import Hit
from finesieve_client.cli.terminal import one_line
from finesieve_client.comparison import moved


def heading(passage: Passage, style: str = "bold") -> Text:
    """Return a passage's title, and its id where the title does not begin with that."""
    title, passage_id = one_line(passage.title), one_line(passage.id)
    if title.startswith(passage_id):
        return Text(title, style)
    return Text.assemble((title, style), (f"  {passage_id}" if title else passage_id, "dim"))


def snippet(hit: Hit, characters: int = 300) -> str:
    """Return the text around the chunk that won, else the text's beginning."""
    text = hit.passage.text
    start = hit.best_span.start if hit.HasField("best_span") else 0
    cut = text[start : start + characters]
    return one_line(("… " if start else "") + cut)


def moved_text(hit: Hit, *, new: bool = False) -> Text:
    """Return how many places reranking moved a hit, as an arrow and a number."""
    places = moved(hit)
    if new:
        return Text(f"new ▲{places}", "bold green")
    if places > 0:
        return Text(f"▲{places}", "green")
    if places < 0:
        return Text(f"▼{-places}", "red")
    return Text("=", "dim")


def score_text(hit: Hit) -> Text:
    """Return the probability that the second stage gave, or why there is none."""
    if hit.HasField("score"):
        return Text(f"{hit.score.probability:.3f}", "cyan")
    if hit.HasField("failure"):
        return Text(f"not scored: {one_line(hit.failure.message)}", "red")
    return Text(f"{hit.retrieval_score:.3f}", "dim")
