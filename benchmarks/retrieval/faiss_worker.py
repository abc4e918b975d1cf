"""Build and ask faiss's HNSW index. Runs in faiss's own environment and knows nothing of ours.

python faiss_worker.py FOLDER M EF_CONSTRUCTION TOP_K THREADS EF_SEARCH...
"""

import json
import statistics
import sys
import time
from pathlib import Path

import faiss
import numpy as np

ROUNDS = 5


def main() -> None:
    folder = Path(sys.argv[1])
    m, ef_construction, top_k, threads, *ef_search = map(int, sys.argv[2:])
    vectors, queries = (np.load(folder / f"{name}.npy") for name in ("vectors", "queries"))
    faiss.omp_set_num_threads(threads)
    index = faiss.IndexHNSWFlat(vectors.shape[1], m, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = ef_construction
    began_s = time.perf_counter()
    index.add(vectors)
    build_s = time.perf_counter() - began_s
    found, seconds = [], []
    for ef in ef_search:
        index.hnsw.efSearch = ef
        found.append(index.search(queries, top_k)[1].tolist())
        took_s = []
        for _ in range(ROUNDS):
            began_s = time.perf_counter()
            index.search(queries, top_k)
            took_s.append(time.perf_counter() - began_s)
        seconds.append(statistics.median(took_s))
    print(json.dumps({"build_s": build_s, "found": found, "seconds": seconds}))


if __name__ == "__main__":
    main()
