"""What is best measured before a long run: micro-batch, learning rate, critical batch size."""
