"""Chapter "tokenization": from text to the numbers a model reads, and back without loss."""
