"""The records of one row: what may not be missing."""

from dataclasses import replace

import pytest


@pytest.mark.parametrize(
    "change", [{"predictions": ()}, {"latency_rounds_ms": ()}, {"file_latency_rounds_ms": ((1.0,), ())}]
)
def test_a_row_that_is_ok_has_all_its_measurements(int8_row, change):
    with pytest.raises(ValueError, match="OpenVINO int8 CPU"):
        replace(int8_row, measurements=replace(int8_row.measurements, **change))


def test_a_row_that_is_ok_has_its_figures(int8_row):
    with pytest.raises(ValueError, match="OpenVINO int8 CPU"):
        replace(int8_row, quality=None)


def test_the_backend_of_a_row_is_known(int8_row):
    with pytest.raises(ValueError, match="'tvm'"):
        replace(int8_row.spec, backend="tvm")
