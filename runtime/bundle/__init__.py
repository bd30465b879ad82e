"""The bundle: the folder (or .zip) that an edge box needs."""
