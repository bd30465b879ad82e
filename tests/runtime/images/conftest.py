"""Files of kinds that Pillow can't write."""

import struct
import zlib

import numpy as np
import pytest
import rasterio


@pytest.fixture
def write_tiff(tmp_path):
    """A function that writes bands ``[N, H, W]`` with GDAL, and returns the file's path."""

    def write(bands, name="scene.tif", *, colors=None, **options):
        n_bands, height, width = bands.shape
        path = tmp_path / name
        profile = {"driver": "GTiff", "height": height, "width": width, "count": n_bands, "dtype": bands.dtype.name}
        with rasterio.open(path, "w", **profile, **options) as dataset:
            if colors is not None:
                dataset.write_colormap(1, {i: tuple(map(int, color)) for i, color in enumerate(colors)})
            dataset.write(bands)
        return path

    return write


@pytest.fixture
def bands():
    """A function that returns random bands, uint8 ``[N, 16, 16]``."""

    def make(n_bands):
        return np.random.default_rng(n_bands).integers(0, 256, (n_bands, 16, 16), dtype=np.uint8)

    return make


@pytest.fixture
def png():
    """A function that writes a PNG chunk by chunk, for the kinds that Pillow can't write, and returns the path."""

    def write(path, *, width, height, depth, color, rows):

        def chunk(kind, content):
            return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

        header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
        data = zlib.compress(b"".join(b"\0" + row for row in rows))
        chunks = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)
        return path

    return write
