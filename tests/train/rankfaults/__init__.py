"""Several real processes, one of which fails."""
