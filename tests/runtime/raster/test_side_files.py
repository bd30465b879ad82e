"""What other programs write next to a raster makes it another one only if its pixels, place or mask depend on it."""

import numpy as np
import pytest
import rasterio
from rasterio.enums import Resampling

from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.raster.description import describe_raster
from overfly.runtime.raster.side_files import deciding_files
from overfly.runtime.raster.source import RasterSource

PAM = "<PAMDataset>{}</PAMDataset>"
BAND = PAM.format('<PAMRasterBand band="1">{}</PAMRasterBand>')


def hash_of(path):
    with RasterSource(path, needs_range=False) as source:
        return describe_raster(source).sha256


@pytest.fixture
def plain(draw_raster, noise):
    """A raster in a single file."""
    return draw_raster(noise())


def test_statistics_and_overviews_of_gdal_change_nothing(plain):
    before = hash_of(plain)
    assert before == sha256_file(plain)
    with rasterio.open(plain) as dataset:
        dataset.stats()
    with rasterio.Env(TIFF_USE_OVR=True), rasterio.open(plain, "r+") as dataset:
        dataset.build_overviews([2], Resampling.average)
    with RasterSource(plain) as source:
        assert {file.name for file in source.files} == {"a.tif", "a.tif.aux.xml", "a.tif.ovr"}
    assert hash_of(plain) == before


@pytest.mark.parametrize(
    "remark",
    [
        BAND.format("<Histograms/><CategoryNames/><Scale>2</Scale><Minimum>1</Minimum>"),
        BAND.format('<GDALRasterAttributeTable tableType="thematic"/><Description>red</Description>'),
        PAM.format('<Metadata domain="Esri"><MDI key="PyramidResamplingType">NEAREST</MDI></Metadata>'),
        "<PAMDataset/>",
    ],
)
def test_remarks_change_nothing(plain, remark):
    before = hash_of(plain)
    plain.with_name("a.tif.aux.xml").write_text(remark, encoding="utf-8")
    assert hash_of(plain) == before


@pytest.mark.parametrize(
    "content",
    [
        BAND.format("<NoDataValue>0</NoDataValue>"),
        BAND.format("<ColorInterp>Alpha</ColorInterp>"),
        BAND.format('<Metadata domain="IMAGE_STRUCTURE"><MDI key="NBITS">4</MDI></Metadata>'),
        PAM.format("<GeoTransform>1, 2, 0, 3, 0, -2</GeoTransform>"),
        PAM.format("<SRS>EPSG:32633</SRS>"),
        "no XML",
    ],
)
def test_what_decides_the_pixels_makes_another_raster(plain, content):
    before = hash_of(plain)
    side = plain.with_name("a.tif.aux.xml")
    side.write_text(content, encoding="utf-8")
    changed = hash_of(plain)
    assert changed != before
    with_statistics = content.replace("</PAMDataset>", "  <Metadata><MDI key='A'>1</MDI></Metadata>\n</PAMDataset>")
    side.write_text(with_statistics, encoding="utf-8")
    assert hash_of(plain) == changed


def test_a_mask_makes_another_raster(plain):
    before = hash_of(plain)
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), rasterio.open(plain, "r+") as dataset:
        dataset.write_mask(np.zeros((20, 30), np.uint8))
    assert plain.with_name("a.tif.msk").exists()
    assert hash_of(plain) != before


def test_an_overview_file_that_a_mosaic_names_counts(tmp_path):
    files = [tmp_path / "mosaic.vrt", tmp_path / "a.tif.ovr"]
    assert deciding_files(files) == dict.fromkeys(files)
    assert deciding_files([*files, tmp_path / "a.tif"]) == dict.fromkeys([files[0], tmp_path / "a.tif"])
