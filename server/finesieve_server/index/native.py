"""Call the compiled graph of native/graph.cpp; meanwhile the interpreter serves other threads.

Arrays go in by address, so they must be contiguous and of the right kind: graph.py sees to it.
"""

import ctypes
from ctypes import c_bool, c_char_p, c_size_t, c_void_p
from pathlib import Path

_PATH = Path(__file__).with_name("libgraph.so")

HNSWLIB = "hnswlib 0.8.0"  # whose headers lie in native/, and whose files these are


def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL(str(_PATH))
    except OSError as error:
        raise ImportError(
            f"{error}: the graph was not compiled when finesieve was installed; "
            "install g++, then install finesieve again"
        ) from error
    graph, array = c_void_p, c_void_p
    signatures = {
        "graph_error": (c_char_p, []),
        "graph_new": (graph, [c_bool, c_size_t, c_size_t, c_size_t, c_size_t]),
        "graph_load": (graph, [c_bool, c_size_t, c_size_t, c_char_p]),
        "graph_free": (None, [graph]),
        "graph_nodes": (c_size_t, [graph]),
        "graph_capacity": (c_size_t, [graph]),
        "graph_file_bytes": (c_size_t, [graph]),
        "graph_save": (c_bool, [graph, c_char_p]),
        "graph_reserve": (c_bool, [graph, c_size_t]),
        "graph_use_huge_pages": (None, [graph]),
        "graph_mark_deleted": (c_bool, [graph, array, c_size_t]),
        "graph_add": (c_bool, [graph, array, array, c_size_t, c_size_t]),
        "graph_nearest": (c_bool, [graph, array, c_size_t, c_size_t, array]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


library = _library()


def attempted(outcome: int | None) -> int:
    """Return what a call gave. Raises RuntimeError with the library's reason where that is none."""
    if not outcome:
        reason: bytes = library.graph_error()
        raise RuntimeError(f"hnswlib: {reason.decode(errors='replace')}")
    return outcome
