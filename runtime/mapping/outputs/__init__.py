"""The files of a map. Each is derived from the probabilities of its cells."""
