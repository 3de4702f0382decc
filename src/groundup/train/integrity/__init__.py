"""Silent corruption: what no loss shows, found by hashes and by doing a step twice."""
