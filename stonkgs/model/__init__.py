"""4. Batch -> probabilities: the networks, their files on disk, and the Predictor."""
