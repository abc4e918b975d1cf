"""What runs a model: its folder, its tokenizer, its onnxruntime session."""
