"""What a model is made of, as plain values: configs, families, counts. No torch."""
