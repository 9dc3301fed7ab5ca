"""4. Batch -> prediction: the network, its files, and the Lightning module around it."""
