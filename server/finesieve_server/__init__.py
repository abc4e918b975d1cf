"""The finesieve gRPC server: two-stage retrieval on ONNX Runtime and HNSW."""
