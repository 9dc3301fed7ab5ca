"""What a model is worth: predictions held against the truth, as numbers and figures."""
