"""Training without waiting for each other: a parameter server, and local SGD."""
