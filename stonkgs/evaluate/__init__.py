"""What a model is worth: predictions held against the truth, as numbers, figures and a model card."""
