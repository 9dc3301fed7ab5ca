"""4. Batch -> probabilities or embeddings: the networks, their files on disk, and the Predictor."""
