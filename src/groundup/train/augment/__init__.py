"""Changes at random to the text that is learnt from."""
