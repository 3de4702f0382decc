"""Annotations: what is measured on one document at a time. Nothing is dropped here."""
