"""The report of a project: one HTML file that puts prediction beside measurement."""
