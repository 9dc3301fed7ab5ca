"""Published models by name: they are fetched and converted once, and then read from the user's cache."""
