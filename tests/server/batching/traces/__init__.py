"""What the simulation replays: lengths of real pairs, and arrivals in bursts.

    python -m tests.server.batching.traces

records both again. `lengths.txt` has a call a line: the tokens of its 32 pairs in first-stage
order, queries and passages drawn from the demo's corpus and framed by the bundled cross-encoder's
tokenizer as the server frames them. `bursts.txt` has an arrival a line, in units of the mean time
between two: a Poisson stream whose rate changes every 20 arrivals or so between a half and five
halves of itself, the way a few busy users look from one server.
"""

from pathlib import Path

FOLDER = Path(__file__).parent


def call_lengths() -> list[list[int]]:
    """Return the tokens of each pair of each recorded call."""
    lines = (FOLDER / "lengths.txt").read_text().splitlines()
    return [list(map(int, line.split())) for line in lines]


def bursts() -> list[float]:
    """Return the recorded arrivals; one a unit of time on average."""
    return list(map(float, (FOLDER / "bursts.txt").read_text().split()))
