"""Make maps on many machines: Dask distributes the blocks of rasters to workers."""
