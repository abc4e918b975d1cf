"""Where Milvus promises less than the embedded index: the table of docs/milvus.md, by test.

The tests of a row that says so are run with milvus-lite all the same, and must fail there: what
begins to hold leaves this table.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Less:
    """What the document says of it; `is_chance` where it depends on who comes between."""

    instead: str
    is_chance: bool = False


MILVUS_PROMISES_LESS: Mapping[str, Less] = {
    "test_a_score_has_the_same_bits_by_graph_by_exact_search_and_in_company": Less(
        "Scores are Milvus's, equal to some 1e-6"
    ),
    "test_a_collection_is_there_again_after_a_restart_as_it_was_made": Less(
        "The time of the last update is that of this server's last write"
    ),
    "test_a_score_by_words_does_not_depend_on_the_filter": Less(
        "In milvus-lite a score by words depends on the filter"
    ),
    "test_every_word_of_very_many_is_found": Less(
        "Of a passage with more than 8,192 words, those are left out that repeat others, then the "
        "last of the text"
    ),
    "test_a_range_with_two_bounds_looks_at_every_element_of_a_long_list": Less(
        "A range with two bounds sees of a list the seven least values and the greatest"
    ),
    "test_a_bound_may_be_a_long_string": Less("A bound of a range has at most 255 bytes"),
    "test_searches_during_updates_lose_and_double_nothing": Less(
        "A search during an upsert may miss what is being replaced", is_chance=True
    ),
    "test_a_search_meanwhile_sees_the_old_document_or_the_new_never_both": Less(
        "A search during replace_documents may see passages of both versions", is_chance=True
    ),
}
