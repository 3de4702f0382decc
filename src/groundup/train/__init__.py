"""Pre-training: the loop, and each thing it calls."""
