"""The formats of rasters that a worker reads: those whose files hold all of their pixels, and VRT.

Files of many other formats name a file with the pixels. Such a file could make a worker read what it must not, in
particular if a VRT names it. So GDAL forgets these formats in a worker.
"""

import json
import subprocess
import sys

import rasterio

from overfly.runtime.errors import ClusterError

# GDAL's names; MEM is for its own use.
FORMATS = frozenset(
    {
        *("AVIF", "BMP", "COG", "ECW", "GTiff", "HEIF", "JP2ECW", "JP2KAK", "JP2Lura", "JP2MrSID", "JP2OpenJPEG"),
        *("JPEG", "JPEGXL", "LIBERTIFF", "MEM", "MrSID", "PNG", "VRT", "WEBP"),
    }
)
# What GDAL knows can only be found out by loading it all, in another process.
_LIST = """
import json, rasterio
with rasterio.Env() as environment:
    print(json.dumps(sorted(environment.drivers())))
"""


def limit_formats() -> None:
    """Let GDAL know `FORMATS` only, for good. No raster may have been opened in this process.

    Raises
    ------
    ClusterError
        If it still knows others.
    """
    command = [sys.executable, "-c", _LIST]
    listed = subprocess.run(command, stdout=subprocess.PIPE, check=True, cwd=sys.prefix)  # noqa: S603 - our own program
    others = sorted(set(json.loads(listed.stdout)) - FORMATS)
    with rasterio.Env(GDAL_SKIP=",".join(others)) as environment:
        if left := sorted(set(environment.drivers()) - FORMATS):
            raise ClusterError(f"a worker can't keep GDAL from reading {', '.join(left)}: install rasterio again")
