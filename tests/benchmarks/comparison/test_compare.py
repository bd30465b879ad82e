"""Which reports can be compared, and the figures of a comparison."""

from dataclasses import replace

import pytest

from overfly.benchmarks.comparison.compare import ReportSource, compare
from overfly.benchmarks.results.records import Reason
from overfly.benchmarks.results.row_records import Ratio
from overfly.runtime.errors import ComparisonError, DocumentError


def with_latencies(report, *rounds_ms):
    """Return the report with one latency in each round of its last row."""
    row = report.rows[-1]
    measurements = replace(row.measurements, latency_rounds_ms=tuple((ms,) for ms in rounds_ms))
    return replace(report, rows=(*report.rows[:-1], replace(row, measurements=measurements)))


def test_rows_of_the_same_name_are_compared(report, box, saved):
    comparison = compare(saved(report, box))
    lines = {line.name: line.entries for line in comparison.lines}
    assert list(lines) == [row.name for row in report.rows]
    here, there = lines["OpenVINO int8 CPU"]
    assert (here.execution_precision, here.accuracy, here.latency_p50_ms, here.throughput_ips) == (
        "f32",
        pytest.approx(55 / 60),
        2.5,
        pytest.approx(800),
    )
    quality = report.rows[4].quality
    assert (here.nll, here.brier, here.ece) == (quality.nll.value, quality.brier.value, quality.ece.value)
    assert (here.latency_speedup, here.throughput_speedup, here.n_changed) == (None, None, None)
    assert (there.latency_p50_ms, there.throughput_ips) == (5.0, pytest.approx(400))
    assert there.latency_speedup == Ratio(pytest.approx(0.5), pytest.approx((0.5, 0.5)))
    assert there.throughput_speedup.value == pytest.approx(0.5)
    assert there.n_changed == 1


def test_a_row_that_a_report_lacks_or_that_failed_there_has_no_entry(report, box, saved):
    lines = {line.name: line.entries for line in compare(saved(report, box)).lines}
    assert lines["ONNX Runtime fp32"][0] is not None
    assert lines["ONNX Runtime fp32"][1] is None
    assert lines["OpenVINO fp16 GPU"] == (None, None)


def test_a_row_that_only_a_later_report_has_comes_last_without_a_comparison(report, box, saved):
    *_, line = compare(saved(box, report)).lines
    assert line.name == "ONNX Runtime fp32"
    first, second = line.entries
    assert first is None
    assert (second.latency_p50_ms, second.latency_speedup, second.n_changed) == (10.0, None, None)


def test_each_report_is_named_with_its_machine_and_validity(report, box, saved):
    reasons = (Reason("the machine ran on battery", "plug it in"),)
    invalid = replace(box, validity=replace(box.validity, valid=False, reasons=reasons))
    folders = saved(report, invalid)
    comparison = compare([folders[0], folders[1] / "report.json"])
    time = report.environment.timestamp
    assert comparison.reports == (
        ReportSource(path=str(folders[0]), host="box", cpu="Some CPU", timestamp=time, valid=True),
        ReportSource(path=str(folders[1] / "report.json"), host="edge", cpu="Small CPU", timestamp=time, valid=False),
    )
    assert (comparison.n_images, comparison.images_sha256) == (60, report.images.sha256)
    assert comparison.manifest_sha256 == (report.bundles[0].manifest_sha256,)


@pytest.mark.parametrize(
    ("reference", "other", "expected", "is_significant"),
    [
        # 2.5 / 2, the low end there / the high end here, the high end there / the low end here.
        ((2.0, 2.5, 3.0), (2.0, 2.0, 4.0), (1.25, 0.5, 1.5), False),
        ((4.0, 5.0, 6.0), (2.0, 2.5, 3.0), (2.0, 4 / 3, 3.0), True),
        ((2.0, 2.5, 3.0), (4.0, 5.0, 6.0), (0.5, 1 / 3, 0.75), True),
    ],
)
def test_the_interval_of_a_ratio_is_from_those_of_both_medians(
    report, saved, reference, other, expected, is_significant
):
    # With seven rounds, the interval of a center is their range.
    seven = [(low, *[middle] * 5, high) for low, middle, high in (reference, other)]
    comparison = compare(saved(*(with_latencies(report, *rounds) for rounds in seven)))
    ratio = comparison.lines[-1].entries[1].latency_speedup
    assert (ratio.value, *ratio.ci95) == pytest.approx(expected)
    assert ratio.is_significant is is_significant


def test_rounds_that_are_set_aside_do_not_count(report, saved):
    row = with_latencies(report, *[2.0] * 8, 9.0).rows[-1]
    measurements = replace(row.measurements, rounds_set_aside=(8,))
    other = replace(report, rows=(*report.rows[:-1], replace(row, measurements=measurements)))
    ratio = compare(saved(report, other)).lines[-1].entries[1].latency_speedup
    assert (ratio.value, *ratio.ci95) == pytest.approx((1.25, 1.25, 1.25))


def test_too_few_rounds_give_a_ratio_without_an_interval(report, saved):
    reports = saved(with_latencies(report, 2.0, 2.0), with_latencies(report, 1.0, 1.0))
    assert compare(reports).lines[-1].entries[1].latency_speedup == Ratio(2.0, None)


def test_changed_images_are_not_counted_if_the_reports_list_them_in_another_order(report, saved):
    images = replace(report.images, names=tuple(reversed(report.images.names)))
    first, second = saved(report, replace(report, images=images))
    assert compare([first, first]).lines[-1].entries[1].n_changed == 0
    assert compare([first, second]).lines[-1].entries[1].n_changed is None


def test_one_report_is_too_few(report, saved):
    with pytest.raises(ComparisonError) as caught:
        compare(saved(report))
    assert str(caught.value) == "found 1 report, expected at least 2: add another report"


def test_a_report_of_another_bundle_is_an_error_that_names_both_and_their_hashes(report, saved):
    ours, other = saved(report, replace(report, bundles=(replace(report.bundles[0], manifest_sha256="1" * 64),)))
    with pytest.raises(ComparisonError) as caught:
        compare([ours, other])
    assert str(caught.value) == (
        f"{other} is of another bundle than {ours} (manifest 111111111111, expected "
        f"{report.bundles[0].manifest_sha256[:12]}): copy the bundle to both machines and bench it on each"
    )


def test_a_report_of_other_images_is_an_error_that_names_both_and_their_hashes(report, saved):
    ours, other = saved(report, replace(report, images=replace(report.images, sha256="2" * 64)))
    with pytest.raises(ComparisonError) as caught:
        compare([ours, ours, other])
    assert str(caught.value) == (
        f"{other} is of other images than {ours} (60 images with SHA-256 222222222222, expected 60 images with "
        "SHA-256 000000000000): bench both on the same data with the same --quick and --images"
    )


def test_a_report_of_other_labels_is_an_error_that_names_both(report, saved):
    assert report.images.truth[0] == 0
    ours, other = saved(report, replace(report, images=replace(report.images, truth=(1, *report.images.truth[1:]))))
    with pytest.raises(ComparisonError) as caught:
        compare([ours, other])
    assert str(caught.value) == (
        f"{other} has other labels than {ours} for the same images (the numbers of images per class differ): "
        "bench both on the same data, with each image in the same class folder"
    )


def test_a_report_of_another_schema_is_an_error_that_names_the_file(report, saved):
    ours, other = saved(report, report)
    path = other / "report.json"
    path.write_text(path.read_text(encoding="utf-8").replace("overfly.report/7", "overfly.report/9"), encoding="utf-8")
    with pytest.raises(DocumentError) as caught:
        compare([ours, other])
    assert str(path) in str(caught.value)
    assert "overfly.report/9" in str(caught.value)


def test_rows_of_several_bundles_are_matched_by_the_bundle_whatever_its_folder_is_called(several, saved):
    def renamed(row):
        return replace(row, spec=replace(row.spec, bundle={"small": "s", "large": "l"}[row.spec.bundle]))

    facts = tuple(replace(bundle, name=bundle.name[0]) for bundle in several.bundles)
    other = replace(several, bundles=facts, rows=tuple(map(renamed, several.rows)))
    comparison = compare(saved(several, other))
    assert comparison.manifest_sha256 == ("0" * 64, "1" * 64)
    assert [line.name for line in comparison.lines] == [row.name for row in several.rows]
    assert all(second.n_changed == 0 for _, second in (line.entries for line in comparison.lines))
    assert [line.entries[1].latency_p50_ms for line in comparison.lines] == [20.0, 2.0, 1.25, 40.0, 10.0, 2.5]


def test_a_report_of_fewer_bundles_is_an_error(several, saved):
    rows = tuple(replace(row, spec=replace(row.spec, bundle="")) for row in several.rows[:3])
    best = replace(several.recommendation, latency=None, throughput=None)
    one = replace(several, bundles=several.bundles[:1], rows=rows, baseline=0, recommendation=best)
    with pytest.raises(ComparisonError, match="manifest 000000000000, expected 000000000000, 111111111111"):
        compare(saved(several, one))
