"""Find the text and its blocks: one module per format."""
