"""A worker computes what the client would, or says why not."""

import dataclasses
import os
import shutil
import sys

import numpy as np
import pytest

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.cluster.engine import raster_request
from overfly.runtime.cluster.job import lead
from overfly.runtime.cluster.request import overfly_version, package_versions
from overfly.runtime.cluster.roots import Roots
from overfly.runtime.cluster.service import BlockService, pack_wanted, unpack_wanted
from overfly.runtime.files.hashing import sha256_file
from overfly.runtime.mapping.classification import BlockSpec
from overfly.runtime.mapping.engine import open_local_engine
from overfly.runtime.mapping.grid import Block
from overfly.runtime.mapping.job import MapJob, map_options
from overfly.runtime.mapping.plan import plan_maps
from overfly.runtime.raster.description import file_states
from overfly.runtime.reporter import SILENT

SCENE_M = 8 * 2 / 0.9996
PLACE = (2, 3, 6, 5)


@pytest.fixture
def job(make_bundle, raster, tmp_path):
    """A job with the hand-made bundle."""
    return MapJob(bundle=make_bundle(), rasters=(raster,), out=tmp_path / "map", scene_m=SCENE_M, device="CPU")


@pytest.fixture
def work(job):
    """What is to be classified."""
    bundle = Bundle.open(job.bundle)
    (plan,), _ = plan_maps(job, map_options(job, bundle), bundle.manifest, SILENT)
    return plan.work()


@pytest.fixture
def ask(job, work, tmp_path):
    """A function that asks a worker for a block; choices replace what the client says of its model."""
    _, request = lead(job, Bundle.open(job.bundle))

    def call(*, version=None, roots=(tmp_path,), wanted=None, work=work, **choices):
        service = BlockService(Roots.of(roots), n_threads=1)
        text = dataclasses.replace(request, **choices).to_text()
        return service.answer(version or overfly_version(), text, raster_request(work), PLACE, wanted)

    return call


def test_its_result_is_that_of_one_process(ask, job, work):
    answer = ask()
    with open_local_engine(job, Bundle.open(job.bundle), SILENT) as engine:
        (outcome,) = engine.results(work, [(7, Block(*PLACE))])
    assert answer.data == outcome.result.to_bytes()
    assert len(outcome.result.probabilities) == 30
    assert answer.machine is None


def test_it_classifies_the_windows_that_are_wanted(ask, work):
    wanted = np.zeros(PLACE[2:], np.bool_)
    assert len(work.spec.parse(ask(wanted=pack_wanted(wanted)).data, Block(*PLACE)).probabilities) == 0
    wanted[1, 2:4] = True
    result = work.spec.parse(ask(wanted=pack_wanted(wanted)).data, Block(*PLACE))
    np.testing.assert_array_equal(result.classified, wanted)
    np.testing.assert_array_equal(unpack_wanted(pack_wanted(wanted), Block(*PLACE)), wanted)
    assert pack_wanted(unpack_wanted(None, Block(*PLACE))) is None


def refused(answer, scope, *fragments):
    assert (answer.data, answer.unreadable, answer.scope) == (None, None, scope)
    for fragment in fragments:
        assert fragment in answer.refused


def test_another_version_is_refused_before_the_request_is_read(ask):
    refused(ask(version="9.9", variant="unknown"), "model", "9.9", overfly_version())


@pytest.mark.parametrize("name", ["CACHE_DIR", "WEIGHTS_PATH", "config_file"])
def test_a_property_of_openvino_that_names_a_file_is_refused(ask, name):
    refused(ask(properties={name: "elsewhere"}), "model", name)


def test_another_bundle_is_refused(ask):
    refused(ask(bundle_sha256="0" * 64), "model", "another bundle", "000000000000")


def test_a_bundle_or_a_raster_outside_of_the_roots_is_refused(ask, job, work):
    refused(ask(roots=[work.path]), "model", f"{job.bundle} is outside of")
    refused(ask(roots=[job.bundle]), "raster", f"{work.path} is outside of")


def test_one_that_computes_otherwise_is_refused_or_named(ask, job):
    choices = {"golden_sha256": "0" * 64}
    refused(ask(**choices), "model", "computes otherwise", "000000000000", "--allow-mixed")
    machine = ask(**choices, allow_mixed=True).machine_record()
    with open_local_engine(job, Bundle.open(job.bundle), SILENT) as engine:
        expected = engine.model.execution_precision
    assert (machine.execution_precision, machine.versions) == (expected, {})


def test_other_packages_are_refused_or_named(ask):
    choices = {"packages": {**package_versions(), "openvino": "1.0", "pillow": "2.0", "gdal": "3.0"}}
    refused(ask(**choices), "model", "openvino 1.0", "pillow 2.0", "gdal 3.0", "--allow-mixed")
    assert ask(**choices, allow_mixed=True).machine_record().versions.keys() == {"openvino", "pillow", "gdal"}


def test_a_copy_of_the_raster_is_the_same_and_another_file_is_not(ask, work):
    content = work.path.read_bytes()
    os.utime(work.path, ns=(1, 1))
    assert ask().data is not None
    work.path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    refused(ask(), "raster", f"{work.path} is another file")
    work.path.unlink()
    refused(ask(), "raster", f"{work.path} does not exist")


def test_a_raster_that_changes_after_it_was_checked_is_refused(ask, work, monkeypatch):
    read = BlockSpec.read

    def replace(self, *arguments):
        work.path.write_bytes(work.path.read_bytes() + b"0")
        return read(self, *arguments)

    monkeypatch.setattr(BlockSpec, "read", replace)
    refused(ask(), "raster", f"{work.path} has changed")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows deletes no file that is open")
def test_a_raster_that_is_deleted_after_it_was_checked_is_refused(ask, work, monkeypatch):
    read = BlockSpec.read
    monkeypatch.setattr(BlockSpec, "read", lambda *arguments: work.path.unlink() or read(*arguments))
    refused(ask(), "raster", f"{work.path} has changed")


def test_a_file_next_to_the_raster_makes_it_another_one_if_it_has_a_nodata_value(ask, work):
    beside = work.path.with_name(f"{work.path.name}.aux.xml")
    band = '<PAMDataset><PAMRasterBand band="1">{}</PAMRasterBand></PAMDataset>'
    beside.write_text(band.format("<Minimum>0</Minimum>"))
    assert ask().data is not None
    beside.write_text(band.format("<NoDataValue>7</NoDataValue>"))
    refused(ask(), "raster", "another file")


def test_a_part_that_cannot_be_read_is_no_refusal(ask, work, write_raster, pixels):
    path = write_raster(pixels(7 * 8, 10 * 8), "damaged.tif", compress="deflate", blockysize=8)
    path.write_bytes(path.read_bytes()[:-9000])
    damaged = dataclasses.replace(work, path=path, sha256=sha256_file(path), states=file_states([path]))
    assert str(path) in ask(work=damaged).unreadable


def test_an_error_is_not_kept(ask, work, tmp_path):
    aside = tmp_path / "aside.tif"
    shutil.move(work.path, aside)
    refused(ask(), "raster", "does not exist")
    shutil.move(aside, work.path)
    assert ask().data is not None
