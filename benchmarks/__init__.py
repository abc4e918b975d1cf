"""What speed and quality are measured with: each command answers one question.

| command | question | report in docs/benchmarks |
|---|---|---|
| make bench | how fast is reranking, beside a bare loop and other engines? | rerank |
| make bench-overload | what is left of it under more load than it can do? | overload |
| make bench-search | what do kept tokens save? | search |
| make bench-retrieval | what does the first stage find, how fast, at a million? | retrieval |
| make bench-live | what do searches feel of writes, compaction and snapshots? | live |
| make bench-deadline | what quality does a deadline buy? | deadline |
| make bench-gpu | how near a card's limit, and what can the host feed? | gpu, host-ceiling |
| make bench-hybrid | what do embeddings, words and both find? | hybrid |
| python -m benchmarks.quality | what does each stage find, what does int8 cost? | quality |
| python -m benchmarks.support | what counts as support without a language model? | support |
| python -m benchmarks.kernels | what do a graph's operators cost on a CPU? | cpu-kernels |

A report is named by its date and kept with --write alone; what kernels prints is kept by hand.
"""
