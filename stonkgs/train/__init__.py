"""Fine-tuning: a labelled column, a model, and what comes of them."""
