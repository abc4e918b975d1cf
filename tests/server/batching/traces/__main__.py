"""Record the traces again, by the same seeds."""

import random

from benchmarks.workload import frame_pairs, rerank_calls
from finesieve_server.config import read_settings
from finesieve_server.model_setup import load_models
from finesieve_server.runtime.encoder import CrossEncoder
from finesieve_server.search.texts import full_text
from tests.server.batching.traces import FOLDER

CALLS, DOCUMENTS, ARRIVALS = 256, 32, 2048


def main() -> None:
    models = load_models(read_settings([])).models[0]
    model = next(each for each in models if isinstance(each, CrossEncoder))
    lines = []
    for call in rerank_calls(None, CALLS, DOCUMENTS, seed=1):
        texts = [full_text(title, text) for title, text in call.documents]
        lines.append(" ".join(str(len(each)) for each in frame_pairs(model, call.query, texts)))
    (FOLDER / "lengths.txt").write_text("\n".join(lines) + "\n")

    chance = random.Random(1)
    at, offsets = 0.0, []
    rate = 1.0
    for _ in range(ARRIVALS):
        if chance.random() < 1 / 20:
            rate = chance.choice((0.5, 2.5))
        at += chance.expovariate(rate)
        offsets.append(at)
    unit = at / ARRIVALS
    (FOLDER / "bursts.txt").write_text("".join(f"{offset / unit:.3f}\n" for offset in offsets))


if __name__ == "__main__":
    main()
