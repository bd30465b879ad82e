"""The drawn data set of ``overfly sample`` and ``overfly demo``."""
