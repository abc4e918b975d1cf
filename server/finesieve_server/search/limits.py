"""How much one request may hold: the defaults of the settings of the same names."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Characters are Unicode code points; the rest counts elements."""

    max_query_chars: int = 8_192
    max_passage_chars: int = 65_536
    max_documents: int = 1_000
    max_texts: int = 1_000
    max_passages: int = 1_000
    max_queries: int = 1_000
    max_top_k: int = 1_000
    max_ef_search: int = 4_096
    max_page_size: int = 1_000
    max_window: int = 100
    max_chunks: int = 64
    max_filter_clauses: int = 1_000
    max_filter_depth: int = 32
