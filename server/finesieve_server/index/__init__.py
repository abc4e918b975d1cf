"""Keep passages durably and find the nearest of them: the first stage of retrieval."""
