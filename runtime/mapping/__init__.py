"""Make class maps of rasters with a bundle."""
