"""The guard of a run: what it sees as an alarm, how it tells a bad batch from damaged weights."""
