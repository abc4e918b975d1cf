"""Answer questions from a collection, with a language model or without one."""
