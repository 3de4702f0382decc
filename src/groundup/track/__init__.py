"""What a run writes down while it runs, and how it is read back."""
