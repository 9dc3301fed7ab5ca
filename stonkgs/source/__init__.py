"""1. Where statements come from: splits of files, read lazily."""
