"""5. Predictions -> disk: one part a split, joined in the input's order."""
