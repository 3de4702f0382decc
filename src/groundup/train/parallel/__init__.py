"""How the processes of a run divide a model and its batch."""
