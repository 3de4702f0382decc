"""The Transformer of an architecture: forward pass, initialisation, conversion, generation."""
