"""Georeferenced rasters: windows of a fixed size on the ground, and the maps that a bundle makes of them."""
