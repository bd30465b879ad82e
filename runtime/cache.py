"""Where compiled models are kept between runs: the user's cache folder, never the working directory."""

import os
import sys
from pathlib import Path


def model_cache_folder() -> Path:
    """Return the folder for compiled models, made if need be.

    ``OVERFLY_CACHE`` overrides the operating system's place (``%LOCALAPPDATA%``,
    ``~/Library/Caches``, or ``$XDG_CACHE_HOME``, by default ``~/.cache``).
    """
    folder = _user_cache() / "models"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _user_cache() -> Path:
    """Return overfly's own folder among the user's caches."""
    if override := os.environ.get("OVERFLY_CACHE"):
        return Path(override)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "overfly"
