"""From rasters and labels to a labeled folder of scenes whose split does not leak. Needs the extra ``geo``."""
