"""Settings of Dask."""

import logging


def silence_dask() -> None:
    """Keep Dask from writing to standard error: what matters becomes a sentence of overfly."""
    import distributed  # noqa: F401 - it sets the levels when it is imported

    for name in ("distributed", "tornado", "bokeh"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
