"""The published models by their names: fetched once, made folders of ours once, and from then on read from there."""
