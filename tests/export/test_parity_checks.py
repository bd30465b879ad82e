"""A step that differs too much from PyTorch is rejected."""

from dataclasses import replace

import numpy as np
import pytest

from overfly.export import parity_checks
from overfly.export.exporter import ExportJob, export
from overfly.export.parity_checks import FLOAT32, Reference, Tolerance, check_parity
from overfly.export.variant_specs import VARIANT_SPECS
from overfly.runtime.bundle.bundle import Bundle, ReferenceSet
from overfly.runtime.errors import ParityError


def reference(*logits):
    """Return a reference of images a.jpg, b.jpg and so on, with these logits."""
    answers = np.array(logits, np.float32)
    names = tuple(f"{letter}.jpg" for letter in "abc"[: len(answers)])
    return Reference(names, ReferenceSet(np.zeros((len(answers), 4, 4, 3), np.uint8), answers))


def test_a_step_that_disagrees_is_rejected_with_its_worst_image():
    expected = reference([1.0, 5.0], [3.0, 0.0])
    wrong = expected.golden.logits + np.array([[0, 0], [0, 4]], np.float32)
    with pytest.raises(ParityError) as caught:
        check_parity(expected, wrong, FLOAT32, step="the step")
    assert str(caught.value) == (
        "the step does not agree with PyTorch: logits differ by up to 4 (expected at most 0.001), and 50.0% of 2 "
        "images keep their class (expected at least 100%); b.jpg differs most. Nothing was written; install the "
        "versions in constraints.txt and export again"
    )


def test_a_tie_within_the_tolerance_may_change_places_but_no_other():
    expected, swapped = reference([1.0, 1.1]), np.array([[1.1, 1.0]], np.float32)
    wide = Tolerance(max_abs_diff=0.2, min_agreement=1.0)
    assert check_parity(expected, swapped, wide, step="s").top1_agreement == 0
    with pytest.raises(ParityError):
        check_parity(expected, swapped, Tolerance(max_abs_diff=0.01, min_agreement=1.0), step="s")


@pytest.mark.slow
@pytest.mark.parametrize("step", ["the ONNX model at batch 1", "the fp16 IR"])
def test_a_failed_parity_stops_the_export_and_keeps_the_old_bundle(make_run, monkeypatch, step):
    run = make_run()
    job = ExportJob(run=run, out=run.with_name("bundle"), variants=("fp32", "fp16"))
    before = export(job).manifest
    impossible = Tolerance(max_abs_diff=-1.0, min_agreement=1.0)
    if "ONNX" in step:
        monkeypatch.setattr(parity_checks, "FLOAT32", impossible)
    else:
        monkeypatch.setitem(VARIANT_SPECS, "fp16", replace(VARIANT_SPECS["fp16"], tolerance=impossible))
    with pytest.raises(ParityError, match=f"^{step} .*(dry|green)/"):
        export(job, overwrite=True)
    assert Bundle.open(job.out).manifest == before
    assert sorted(path.name for path in run.parent.iterdir()) == ["bundle", "data", "run"]
