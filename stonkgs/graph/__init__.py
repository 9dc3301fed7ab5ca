"""From triples to a KGE store: a knowledge graph of one's own, its walks and vectors, and what these have learned."""
