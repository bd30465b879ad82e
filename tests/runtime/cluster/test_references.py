"""What GDAL opens with a file is found, and what it may understand otherwise is refused."""

import shutil
import subprocess

import pytest
import rasterio.shutil

from overfly.runtime.cluster.references import files_beside, referenced_files
from overfly.runtime.errors import RasterError

VRT = """<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1">{}</VRTRasterBand>
</VRTDataset>"""
SOURCE = "<SimpleSource>{}</SimpleSource>"


@pytest.fixture
def vrt(tmp_path):
    """A function that writes a VRT with some content and returns its path."""

    def call(content, head="", name="a.vrt"):
        (tmp_path / name).write_text(head + VRT.format(content), encoding="utf-8")
        return tmp_path / name

    return call


def test_the_files_of_a_vrt(vrt, tmp_path):
    names = ('<SourceFilename relativetoVRT="1">b:c.tif</SourceFilename>', f"<SourceDataset>{tmp_path}</SourceDataset>")
    path = vrt(SOURCE.format("".join(names)), '<?xml version="1.0" encoding="UTF-8"?>')
    assert referenced_files(path) == [tmp_path / "b:c.tif", tmp_path]


@pytest.mark.parametrize(
    "content",
    [
        "<SOURCEFILENAME>/x.tif</SOURCEFILENAME>",
        "<SourceFilename>/x.tif<!-- a comment --></SourceFilename>",
        "<SourceFilename>/x.tif<?a?></SourceFilename>",
        "<SourceFilename><![CDATA[/x.tif]]></SourceFilename>",
        "<SourceFilename> /x.tif</SourceFilename>",
        "<SourceFilename>x.tif</SourceFilename>",
        "<SourceFilename>&lt;VRTDataset/></SourceFilename>",
        "<SourceFilename>NETCDF:x.nc:a</SourceFilename>",
        '<SourceFilename relativeToVRT="01">x.tif</SourceFilename>',
        '<SourceFilename relativeToVRT="1" relativetoVRT="0">/x.tif</SourceFilename>',
        '<SourceFilename xmlns="urn:x">/x.tif</SourceFilename>',
        '<SourceBand SourceFilename="/x.tif"/>',
        '<OpenOptions><OOI key="ROOT_PATH">/</OOI></OpenOptions>',
        '<Metadata domain="OVERVIEWS"><MDI key="overview_file">/x.tif</MDI></Metadata>',
        "<SourceBand>1</SourceBand",
    ],
)
def test_a_vrt_that_may_mean_something_else_is_refused(vrt, content):
    with pytest.raises(RasterError, match=r"a\.vrt"):
        referenced_files(vrt(SOURCE.format(content)))


def test_a_vrt_is_one_by_its_content(vrt):
    content = SOURCE.format('<SourceFilename relativeToVRT="1">x.tif</SourceFilename>')
    for name in ("a.tif", "a.tif.aux.xml"):
        assert [path.name for path in referenced_files(vrt(content, name=name))] == ["x.tif"]


def test_an_entity_is_refused(vrt):
    with pytest.raises(RasterError, match="declaration"):
        referenced_files(vrt("", '<!DOCTYPE a [<!ENTITY b "c">]>'))


def test_reduced_copies_elsewhere_are_refused(write_raster, pixels, tmp_path):
    path = write_raster(pixels(8, 8))
    assert referenced_files(path) == []
    with rasterio.open(path, "r+") as dataset:
        dataset.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="/vsicurl/http://192.0.2.1/a.ovr")
    with pytest.raises(RasterError, match="OVERVIEW_FILE"):
        referenced_files(path)
    beside = tmp_path / "other.tif.aux.xml"
    beside.write_text(
        '<PAMDataset><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">/x</MDI></Metadata></PAMDataset>'
    )
    with pytest.raises(RasterError, match="OVERVIEW_FILE"):
        referenced_files(beside)


def test_other_formats_are_refused(write_raster, pixels, tmp_path):
    rasterio.shutil.copy(write_raster(pixels(8, 8)), tmp_path / "a.img", driver="ENVI")
    with pytest.raises(RasterError, match=r"ENVI.*GeoTIFF"):
        referenced_files(tmp_path / "a.img")
    for text in ("<GDAL_WMS></GDAL_WMS>", '{"type": "FeatureCollection"}'):
        (tmp_path / "a.txt").write_text(text)
        with pytest.raises(RasterError, match=r"a\.txt"):
            referenced_files(tmp_path / "a.txt")


def test_the_files_beside(tmp_path):
    for name in ("A.tif", "a.tif.msk", "a.tif.OVR", "a.tif.msk.ovr", "a.tif.aux.xml", "a.tfw"):
        (tmp_path / name).touch()
    found = {name: sorted(path.name for path in paths) for name, paths in files_beside(tmp_path).items()}
    assert found == {"a.tif": ["a.tif.OVR", "a.tif.aux.xml", "a.tif.msk"], "a.tif.msk": ["a.tif.msk.ovr"]}


@pytest.mark.gdal
@pytest.mark.parametrize(
    "command",
    [
        "gdalbuildvrt a.vrt raster.tif",
        "gdalbuildvrt -addalpha -srcnodata 0 -hidenodata a.vrt raster.tif",
        "gdal_translate -of VRT -scale 0 255 9 99 -a_nodata 3 -b 1 -mask 2 -gcp 0 0 5 5 raster.tif a.vrt",
        "gdal_translate -of VRT -stats -outsize 50% 50% -r average raster.tif a.vrt",
        "gdalwarp -of VRT -t_srs EPSG:3857 -dstalpha -srcnodata 3 raster.tif a.vrt",
    ],
)
def test_the_vrts_of_gdals_own_programs_are_read(write_raster, pixels, command):
    path = write_raster(pixels(16, 16))
    words = command.replace("raster.tif", path.name).split()
    if shutil.which(words[0]) is None:
        pytest.skip(f"there is no {words[0]}")
    subprocess.run([*words, "-q"], cwd=path.parent, check=True, capture_output=True)
    assert set(referenced_files(path.parent / "a.vrt")) == {path}
