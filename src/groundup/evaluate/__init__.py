"""Chapter "evaluation": what the model has learned, beside what much simpler means reach."""
