"""INDRA statements as rows: from their JSON alone, without INDRA or PyBEL, to the same nodes, hashes and sentences."""
