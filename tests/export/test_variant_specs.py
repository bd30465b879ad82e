"""Every variant has a spec, and its files depend on nothing but the run."""

import pytest
import torch

from overfly.export.exporter import ExportJob, export
from overfly.export.variant_specs import VARIANT_SPECS
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.bundle.variants import VARIANTS
from overfly.training.run import Run


@pytest.fixture(scope="module")
def bundle(tiny_bundle):
    return Bundle.open(tiny_bundle)


def test_each_variant_has_a_spec():
    assert set(VARIANT_SPECS) == set(VARIANTS)


def test_weights_shrink_with_the_precision(bundle):
    modules = Run.open(bundle.path.with_name("run")).load_model().model.modules()
    kept = sum(4 * m.weight.numel() for m in modules if isinstance(m, torch.nn.Conv2d) and m.groups > 1)
    fp32, fp16, int8 = (bundle.manifest.files[f"{name}.bin"].size_bytes for name in ("fp32", "fp16", "int8"))
    assert (fp16 - kept) / (fp32 - kept) == pytest.approx(0.5, abs=0.01)
    assert int8 / fp32 < 0.28


@pytest.mark.slow
def test_a_variant_is_the_same_without_the_others(make_run):
    run = make_run()
    whole = export(ExportJob(run=run, out=run.with_name("whole"))).manifest
    few = export(ExportJob(run=run, out=run.with_name("few"), variants=("fp16", "int8"))).manifest
    for name in ("fp16.xml", "fp16.bin", "int8.xml", "int8.bin"):
        assert few.files[name] == whole.files[name]
