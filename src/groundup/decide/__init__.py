"""Buy, adapt or train: the paper's three options, what each costs, trials of candidates."""
