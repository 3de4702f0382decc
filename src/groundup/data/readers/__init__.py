"""Readers: one small file per kind of input, each with guards of its own."""
