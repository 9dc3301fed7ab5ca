"""5. Predictions -> disk: one part for each split, joined in the input's order."""
