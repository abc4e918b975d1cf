"""What the server is for: embed, ingest, retrieve, rerank, and both stages in one."""
