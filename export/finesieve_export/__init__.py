"""What happens to a model before it is served: convert, compress, compare, check."""
