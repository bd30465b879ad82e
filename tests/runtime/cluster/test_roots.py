"""A worker opens what is in its folders, and nothing else by whatever name."""

import pytest

from overfly.runtime.cluster.roots import Roots
from overfly.runtime.errors import RasterError

VRT = """<VRTDataset rasterXSize="8" rasterYSize="8"><VRTRasterBand dataType="Byte" band="1"><SimpleSource>
<SourceFilename relativeToVRT="{relative}">{name}</SourceFilename></SimpleSource></VRTRasterBand></VRTDataset>"""


@pytest.fixture
def root(tmp_path, write_raster, pixels):
    """A folder that may be read, with a file; next to it is a file that may not."""
    folder = tmp_path / "root"
    for path in ("root/inside.tif", "outside.tif"):
        write_raster(pixels(8, 8), path)
    return folder


@pytest.fixture
def roots(root):
    """The roots of that folder."""
    return Roots.of([root])


def test_a_file_inside_is_allowed(root, roots):
    assert roots.check(root / "inside.tif") == (root / "inside.tif").resolve()
    assert roots.check(root) == root.resolve()
    assert roots.check_raster(root / "inside.tif") == (root / "inside.tif").resolve()


def test_a_file_outside_is_refused_also_through_a_parent(root, roots, tmp_path):
    for path in (tmp_path / "outside.tif", root / ".." / "outside.tif", tmp_path):
        with pytest.raises(RasterError, match="is outside of"):
            roots.check(path)
    with pytest.raises(RasterError, match="does not exist"):
        roots.check(root / "missing.tif")


def test_a_folder_with_a_longer_name_is_outside(root, roots):
    other = root.with_name("root-of-another")
    other.mkdir()
    with pytest.raises(RasterError, match="is outside of"):
        roots.check(other)


def test_a_link_counts_as_what_it_leads_to(root, roots, link, tmp_path):
    with pytest.raises(RasterError, match=r"outside\.tif, is outside of"):
        roots.check(link(root / "link.tif", tmp_path / "outside.tif"))
    with pytest.raises(RasterError, match="does not exist"):
        roots.check(link(root / "circle", root / "circle"))
    shortcut = link(tmp_path / "shortcut", root)
    assert Roots.of([shortcut]).check(root / "inside.tif")


@pytest.mark.parametrize(
    "name",
    ["../outside.tif", "{folder}/outside.tif", "/vsicurl/http://192.0.2.1/a.tif", "GTIFF_DIR:1:{folder}/outside.tif"],
)
@pytest.mark.parametrize("relative", [0, 1])
def test_a_vrt_may_not_refer_to_what_is_outside(root, roots, tmp_path, name, relative):
    path = root / "a.vrt"
    path.write_text(VRT.format(relative=relative, name=name.format(folder=tmp_path)))
    with pytest.raises(RasterError, match=r"outside of|does not exist|working folder|no path of a file"):
        roots.check_raster(path)


@pytest.mark.parametrize("name", ["inside.tif.msk", "inside.tif.OVR"])
def test_what_is_next_to_a_raster_is_checked_as_well(root, roots, tmp_path, name):
    (root / name).write_text(VRT.format(relative=0, name=tmp_path / "outside.tif"))
    with pytest.raises(RasterError, match="outside of"):
        roots.check_raster(root / "inside.tif")


def test_without_folders_all_may_be_read(root):
    path = root / "a.vrt"
    path.write_text(VRT.format(relative=1, name="../outside.tif"))
    assert Roots.of(None).check_raster(path) == path.resolve()


def test_vrts_within_vrts_are_followed(root, roots):
    (root / "inner.vrt").write_text(VRT.format(relative=1, name="inside.tif"))
    outer = root / "outer.vrt"
    outer.write_text(VRT.format(relative=1, name="inner.vrt"))
    assert roots.check_raster(outer) == outer.resolve()
    (root / "inner.vrt").write_text(VRT.format(relative=1, name="../outside.tif"))
    with pytest.raises(RasterError, match="is outside of"):
        roots.check_raster(outer)
