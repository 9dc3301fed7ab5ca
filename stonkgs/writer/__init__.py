"""5. Predictions or embeddings -> disk: one part for each split, joined in the input's order."""
