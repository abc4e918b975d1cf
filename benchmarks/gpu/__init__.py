"""The server on a CUDA card, and how many pairs its host can feed."""
