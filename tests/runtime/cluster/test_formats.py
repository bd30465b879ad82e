"""A worker's GDAL knows the formats that refer to no other file, and no other ones."""

import subprocess
import sys

import pytest

from overfly.runtime.cluster.formats import FORMATS

LIMIT = """
import threading
import rasterio
from overfly.runtime.cluster.formats import limit_formats

def show():
    with rasterio.Env() as environment:
        print(*sorted(environment.drivers()))

limit_formats()
show()
thread = threading.Thread(target=show)
thread.start()
thread.join()
"""


@pytest.mark.slow
def test_gdal_forgets_the_other_formats_in_all_threads():
    done = subprocess.run([sys.executable, "-c", LIMIT], capture_output=True, text=True, check=True)
    one, other = (line.split() for line in done.stdout.splitlines())
    assert one == other
    assert {"GTiff", "JP2OpenJPEG", "JPEG", "PNG", "VRT"} <= set(one) <= FORMATS
