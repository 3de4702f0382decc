"""Deduplication: exact copies by hash, near copies by MinHash with every pair verified."""
