"""Text in, a clean corpus out: read, annotate, deduplicate, select, split, report."""
