"""The plan of one run on the machine at hand: measured steps, our own law, one choice. No torch."""
