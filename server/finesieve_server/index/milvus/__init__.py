"""Collections in Milvus, a vector database of its own: where one machine is not enough."""
