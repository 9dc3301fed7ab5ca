"""Fine-tuning: trains a model on a labelled column, and rates it on rows that it was not trained with."""
