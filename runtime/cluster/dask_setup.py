"""Settings of Dask."""

import logging

_PACKAGES = ("distributed", "tornado", "bokeh", "asyncio")


def silence_dask() -> None:
    """Keep Dask from writing to standard error: what matters becomes a sentence of overfly."""
    import distributed  # noqa: F401 - it sets the levels when it is imported

    # Dask, and the user's configuration of it, also give levels to loggers below these, like distributed.client.
    for name in (*_PACKAGES, *logging.root.manager.loggerDict):
        if name.partition(".")[0] in _PACKAGES:
            logging.getLogger(name).setLevel(logging.CRITICAL)
