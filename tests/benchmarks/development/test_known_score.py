"""AUROC and rejected shares by hand, and strangers as they are drawn and cut."""

import numpy as np
import pytest
import rasterio
from PIL import Image

from overfly.benchmarks.development.known_score import Separation, with_means
from overfly.benchmarks.development.strangers import (
    drawings,
    flat_colors,
    image_files,
    noise,
    picture_parts,
    raster_windows,
)
from overfly.runtime.images.reading import ImageReader

READER = ImageReader(32)


def test_auroc_counts_pairs_and_half_of_the_equal_ones():
    known, strange = np.arange(1.0, 201.0), np.array([0.5, 1.0, 100.5, 300.0])
    result = Separation.of("x", "noise", known, strange)
    # 200, 199.5, 100 and 0 of 200 known images are higher.
    assert result.auroc == pytest.approx((200 + 199.5 + 100 + 0) / 800)
    # 99% of the known images are expected at 2.01 and above.
    assert result.rejected == 0.5
    assert not result.is_met
    assert result.cells == ("", "x", "noise", "4", "0.624", "50%", "at least 0.90")


def test_the_mean_of_the_sets_has_a_target_of_its_own():
    rows = [Separation("x", "noise", 10, 0.99, 0.8), Separation("x", "grass", 30, 0.92, 0.2)]
    mean = with_means(rows)[-1]
    assert (mean.strangers, mean.n_images, mean.at_least) == ("mean", 40, 0.95)
    assert (mean.auroc, mean.rejected) == (pytest.approx(0.955), pytest.approx(0.5))
    assert mean.is_met


def test_drawn_strangers(monkeypatch):
    noisy, flat = noise(READER), flat_colors(READER)
    for images in (noisy, flat):
        assert images.shape == (200, 32, 32, 3)
        assert images.dtype == np.uint8
    np.testing.assert_array_equal(noisy, noise(READER))
    monkeypatch.setattr("overfly.benchmarks.development.strangers.N_IMAGES", 8)
    assert drawings(READER).shape == (8, 32, 32, 3)
    assert (flat == flat[:, :1, :1]).all()
    assert noisy.std(axis=(1, 2)).min() > 0.5


def test_windows_of_rasters_with_enough_pixels(tmp_path):
    pixels = np.full((3, 256, 512), 7, np.uint8)
    pixels[:, :, :256] = 0
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 3, "height": 256, "width": 512, "nodata": 0}
    with rasterio.open(tmp_path / "r.tif", "w", **profile) as dataset:
        dataset.write(pixels)
    windows = raster_windows(READER, [tmp_path / "r.tif"])
    # Of 256 pixels those at 128, 192 and 256; of 128 pixels those from 192 to 384, in five rows.
    assert len(windows) == 3 + 5 * 7
    assert (windows == 7).any(axis=(1, 2, 3)).all()


def test_parts_of_pictures_and_files_of_folders(tmp_path):
    Image.new("RGB", (512, 256), (1, 2, 3)).save(tmp_path / "a.png")
    Image.new("L", (100, 90), 9).save(tmp_path / "b.png")
    assert len(picture_parts(READER, [tmp_path / "a.png"])) == 4
    images = image_files(READER, [tmp_path])
    assert images.shape == (2, 32, 32, 3)
    assert images[0, 0, 0].tolist() == [1, 2, 3]
