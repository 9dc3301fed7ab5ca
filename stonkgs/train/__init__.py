"""Pre-training on statements, and fine-tuning on a labelled column, rated on rows that it was not trained with."""
