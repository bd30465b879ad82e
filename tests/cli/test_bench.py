"""``overfly bench``: table, JSON and the three files agree; what can't be measured is rejected before measuring."""

import json
import re
import shutil
from dataclasses import replace

import pytest

from overfly.benchmarks.measurement.timing import FULL, QUICK
from overfly.runtime.inference.devices import core


@pytest.fixture(scope="module")
def measured(tiny_bundle, tiny_data, tiny_run, tmp_path_factory, python):
    """(report folder, outcome) of one quick bench of everything with --json; not to be changed."""
    out = tmp_path_factory.mktemp("measured") / "report"
    arguments = ("bench", tiny_bundle, "--data", tiny_data, "--run", tiny_run, "--out", out, "--quick", "--json")
    return out, python("import sys; from overfly.cli import run; sys.exit(run(sys.argv[1:]))", *arguments)


@pytest.fixture
def check_rejected(overfly, content, tmp_path):
    """A function that benches into tmp_path/report and checks that it is rejected, with nothing written or changed."""

    def call(bundle, data, *options, fragments):
        before = content(tmp_path)
        result = overfly("bench", bundle, "--data", data, "--out", tmp_path / "report", "--quick", *options)
        result.assert_failed(*fragments)
        assert content(tmp_path) == before

    return call


def test_json_is_the_report_with_a_row_for_pytorch_and_each_variant(measured, tiny_run):
    out, result = measured
    result.assert_done()
    report = json.loads(result.out)
    assert report == json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert report["schema"] == "overfly.report/7"
    names = [(row["spec"]["backend"], row["spec"]["variant"], row["execution"]["device"]) for row in report["rows"]]
    ours = [("openvino", variant, "CPU") for variant in ("fp32", "fp16", "int8")]
    assert names == [("pytorch", "fp32", "CPU"), ("onnxruntime", "fp32", "CPU"), *ours]
    record = json.loads((tiny_run / "run.json").read_text(encoding="utf-8"))
    for row in report["rows"]:
        quality, speed = row["quality"], row["speed"]
        assert (row["status"], quality["n_images"]) == ("ok", 24)
        assert speed["latency_ms"]["p50"] > 0
        assert speed["latency_ms"]["p99"] is None
        assert speed["throughput_ips"] > 0
        assert speed["file_latency_ms"]["p50"] > 0
        assert speed["file_throughput_ips"] > 0
        low, high = quality["accuracy"]["ci95"]
        assert low <= quality["accuracy"]["value"] <= high
        # A quick bench has no time for separate processes.
        assert row["probe"] is None
        assert row["spec"]["size_bytes"] > 2_000_000
    for row in report["rows"][:3]:
        for name in ("accuracy", "kappa", "f1_macro"):
            assert row["quality"][name]["value"] == pytest.approx(record["metrics"][name])
        assert row["execution"]["execution_precision"] == "f32"
    assert [row["difference"] and row["difference"]["agreement"] for row in report["rows"][:3]] == [None, 1.0, 1.0]
    # ONNX Runtime does not report its number of threads.
    assert [row["execution"]["n_threads"] is None for row in report["rows"]] == [False, True, False, False, False]
    speedup = report["rows"][4]["difference"]["latency_speedup"]
    assert speedup["value"] > 0
    assert speedup["ci95"] is None


def test_it_says_that_a_quick_bench_is_not_valid(measured):
    validity = json.loads(measured[1].out)["validity"]
    assert validity["valid"] is False
    for what in ("latency samples", "torch.compile"):
        assert any(what in reason["what"] and "--quick" in reason["remedy"] for reason in validity["reasons"]), what


def test_a_subset_of_the_images_is_judged_and_called_that(overfly, fp32_bundle, tiny_data, tmp_path):
    options = ("--quick", "--images", 9, "--json", "-v")
    result = overfly("bench", fp32_bundle[0], "--data", tiny_data, "--out", tmp_path / "report", *options)
    report = json.loads(result.out)
    # One of each of the eight classes.
    assert sorted(report["images"]["truth"]) == list(range(8))
    assert report["images"]["n_available"] == 24
    assert any(reason["what"].startswith("8 of 24 images") for reason in report["validity"]["reasons"])
    # What -v logs: the images, the rows that are left out, and each row that was loaded.
    for text in ("evaluating 8 of 24 images", "leaving out PyTorch", "loaded OpenVINO fp32 on CPU", "computed in f32"):
        assert text in result.err, text
    assert "Evaluated: 8 of 24 images" in (tmp_path / "report" / "report.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_full_bench_has_compiled_and_alternative_rows_and_predict_follows_its_recommendation(
    overfly, tiny_bundle, tiny_data, tiny_run, tmp_path, monkeypatch
):
    # Blocks as the full plan has, but few, with the samples of the quick one: seconds instead of minutes.
    brief = replace(QUICK, n_rounds=20, rounds_per_block=FULL.rounds_per_block)
    monkeypatch.setattr("overfly.benchmarks.row_jobs.FULL", brief)
    monkeypatch.setenv("OVERFLY_CACHE", str(tmp_path / "cache"))
    # PyTorch's own switch to run what is compiled as it is: a real compilation takes minutes, see test_backends.py.
    monkeypatch.setenv("TORCHDYNAMO_DISABLE", "1")
    monkeypatch.setattr("torch._dynamo.config.disable", True, raising=False)
    arguments = ("--data", tiny_data, "--run", tiny_run, "--alternatives", "--out", tmp_path / "report", "--json")
    result = overfly("bench", tiny_bundle, *arguments)
    result.assert_done()
    assert re.search(r"the first block of rounds is done; \d+ to \d+ min left", result.err)
    report = json.loads(result.out)
    rows = {tuple(row["spec"][key] for key in ("backend", "variant", "configuration")): row for row in report["rows"]}
    assert [key for key in rows if key[2]] == [
        ("pytorch", "fp32", "compiled"),
        ("pytorch", "fp32", "channels-last"),
        ("onnxruntime", "int8", "static"),
        ("openvino", "fp32", "from ONNX"),
    ]
    assert {key: row["status"] for key, row in rows.items() if row["status"] != "ok"} == {}
    for key, row in rows.items():
        # Of the 24 images, one that this model is unsure of may change sides in bf16, which keeps 8 bits of a number.
        n_changed = 0 if row["difference"] is None else round((1 - row["difference"]["agreement"]) * 24)
        assert n_changed <= (row["execution"]["execution_precision"] == "bf16") or key[1] == "int8", key
        assert row["probe"]["load_ms"]["cold"] > 0, key
        assert row["probe"]["first_inference_ms"] > 0, key
        assert row["probe"]["peak_rss_bytes"] > 50_000_000, key
    sizes = [
        rows["onnxruntime", variant, name]["spec"]["size_bytes"] for variant, name in (("int8", "static"), ("fp32", ""))
    ]
    assert sizes[0] < sizes[1] / 2
    assert rows["pytorch", "fp32", "compiled"]["probe"]["load_ms"]["cached"] > 0
    best = report["rows"][report["recommendation"]["latency"]]
    image = next(tiny_data.rglob("*.jpg"))
    predicted = overfly("predict", tiny_bundle, image)
    assert f"running {best['spec']['variant']} on {best['execution']['device']}" in predicted.err
    assert f"recommended by the bench of {report['environment']['timestamp'][:10]}" in predicted.err


def test_the_three_files_are_written_and_nothing_else(measured):
    out, _ = measured
    assert {path.name for path in out.iterdir()} == {"report.json", "report.md", "report.html"}
    assert [path.name for path in out.parent.iterdir()] == ["report"]
    for name in ("report.md", "report.html"):
        text = (out / name).read_text(encoding="utf-8")
        assert all(row in text for row in ("PyTorch fp32", "OpenVINO fp32", "OpenVINO fp16", "OpenVINO int8"))


def test_the_table_has_a_line_for_each_row_and_overwrite_replaces_a_report(
    overfly, fp32_bundle, tiny_data, tmp_path, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "110")
    out = tmp_path / "report"
    out.mkdir()
    (out / "notes.txt").write_text("old")
    result = overfly("bench", fp32_bundle[0], "--data", tiny_data, "--out", out, "--quick", "--overwrite")
    result.assert_done()
    lines = [line.strip() for line in result.out.splitlines()]
    row = next(line for line in lines if line.startswith("OpenVINO fp32"))
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    assert f"{100 * report['rows'][1]['quality']['accuracy']['value']:.1f} " in row
    assert f"{report['rows'][1]['quality']['kappa']['value']:.3f}" in row
    assert core().get_property("CPU", "FULL_DEVICE_NAME") in result.out
    assert "24 images" in result.out
    assert lines[-1] == f"report: {out / 'report.html'}"
    assert {path.name for path in out.iterdir()} == {"report.json", "report.md", "report.html"}


def test_a_gate_that_is_missed_is_exit_code_1_with_the_report_written(overfly, fp32_bundle, tiny_data, tmp_path):
    out = tmp_path / "report"
    result = overfly("bench", fp32_bundle[0], "--data", tiny_data, "--out", out, "--quick", "--max-drop", 1, "--json")
    result.assert_failed("--max-drop 1", out=result.out)
    assert json.loads(result.out) == json.loads((out / "report.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_an_existing_out_is_rejected_before_measuring(check_rejected, tiny_bundle, tiny_data, tmp_path, kind):
    out = tmp_path / "report"
    if kind == "file":
        out.write_text("mine")
    else:
        out.mkdir()
        (out / "notes.txt").write_text("mine")
    fragments = (out, "--overwrite")
    check_rejected(tiny_bundle, tiny_data, fragments=fragments)


def test_an_unknown_device_is_rejected_before_measuring(check_rejected, tiny_bundle, tiny_data):
    fragments = ("TPU", "CPU")
    check_rejected(tiny_bundle, tiny_data, "--device", "CPU", "--device", "TPU", fragments=fragments)


@pytest.mark.parametrize("device", ["AUTO", "HETERO:CPU", "MULTI:CPU"])
def test_a_device_that_hands_the_work_on_is_not_measured(check_rejected, tiny_bundle, tiny_data, device):
    check_rejected(tiny_bundle, tiny_data, "--device", device, fragments=(device,))


def test_an_absent_gpu_is_explained_before_measuring(check_rejected, tiny_bundle, tiny_data):
    if any(name.startswith("GPU") for name in core().available_devices):
        pytest.skip("there is a GPU here")
    check_rejected(tiny_bundle, tiny_data, "--device", "GPU", fragments=("GPU", "CPU"))


def test_a_path_that_is_no_bundle_run_or_data_folder_is_named(
    check_rejected, tiny_bundle, tiny_data, tiny_run, tmp_path
):
    check_rejected(tmp_path / "no", tiny_data, fragments=(tmp_path / "no",))
    check_rejected(tiny_run, tiny_data, fragments=(tiny_run / "manifest.json",))
    check_rejected(tiny_bundle, tmp_path / "no", fragments=(tmp_path / "no",))
    options = ("--run", tmp_path / "no")
    check_rejected(tiny_bundle, tiny_data, *options, fragments=(tmp_path / "no",))


def test_a_run_that_the_bundle_does_not_come_from_is_rejected(
    check_rejected, tiny_bundle, tiny_data, tiny_run, tmp_path
):
    other = shutil.copytree(tiny_run, tmp_path / "run")
    (other / "run.json").write_text((other / "run.json").read_text(encoding="utf-8") + " ", encoding="utf-8")
    check_rejected(tiny_bundle, tiny_data, "--run", other, fragments=(other,))


@pytest.fixture(scope="module")
def small_bundle(tiny_data, three_blocks, tmp_path_factory):
    """The fp32 bundle of a short training at 32 pixels, with the split of the small run; not to be changed."""
    from overfly.export import ExportJob, export
    from overfly.training.job import TrainJob, train
    from overfly.training.recipe import RECIPES, override

    folder = tmp_path_factory.mktemp("small")
    recipe = override(RECIPES["default"], image_size=32, batch_size=8, epochs=1, test_fraction=0.25)
    with three_blocks():
        train(TrainJob(data=tiny_data, out=folder / "run", recipe=recipe, weights="none"))
        export(ExportJob(run=folder / "run", out=folder / "bundle", variants=("fp32",)))
    return folder / "bundle"


def test_several_bundles_are_measured_in_one_run_and_one_is_recommended(
    overfly, tiny_bundle, small_bundle, tiny_data, tiny_run, tmp_path, monkeypatch
):
    monkeypatch.setenv("COLUMNS", "80")
    # The folder of each is called bundle, so that their names need the folder above. 24 images are the whole test part.
    out = tmp_path / "report"
    options = ("--data", tiny_data, "--run", tiny_run, "--out", out, "--quick", "--images", 24)
    result = overfly("bench", small_bundle, tiny_bundle, *options)
    result.assert_done()
    report = json.loads((out / "report.json").read_text(encoding="utf-8"))
    facts = [
        (bundle["name"].endswith("bundle"), bundle["image_size"], bundle["n_images"]) for bundle in report["bundles"]
    ]
    assert facts == [(True, 32, 24), (True, 64, 24)]
    small, tiny = (bundle["name"] for bundle in report["bundles"])
    assert small != tiny
    assert (report["images"]["source"], report["images"]["n_available"]) == ("test part of every run", 24)
    rows = [(row["spec"]["bundle"], row["spec"]["backend"], row["spec"]["variant"]) for row in report["rows"]]
    assert rows == [
        (small, "onnxruntime", "fp32"),
        (small, "openvino", "fp32"),
        (tiny, "pytorch", "fp32"),
        (tiny, "onnxruntime", "fp32"),
        *((tiny, "openvino", variant) for variant in ("fp32", "fp16", "int8")),
    ]
    assert {row["status"] for row in report["rows"]} == {"ok"}
    # One epoch from nothing is worse than nine.
    assert report["baseline"] == 2
    assert f"the PyTorch row of {small} is missing" in [reason["what"] for reason in report["validity"]["reasons"]]
    best = report["rows"][report["recommendation"]["latency"]]
    assert f"{best['spec']['variant']} of {best['spec']['bundle']} on CPU" in report["recommendation"]["sentence"]
    assert "[1] fp32" in result.out
    assert "[2] int8" in result.out
    assert max(map(len, result.out.splitlines()[:15])) <= 80


def test_bundles_that_can_not_be_measured_together_are_rejected(
    check_rejected, tiny_bundle, small_bundle, tiny_data, seal, tmp_path
):
    missing = tmp_path / "no"
    check_rejected(tiny_bundle, tiny_data, missing, fragments=(missing,))
    check_rejected(tiny_bundle, tiny_data, tiny_bundle, fragments=(tiny_bundle, "same bundle"))
    other = shutil.copytree(small_bundle, tmp_path / "other")
    manifest = json.loads((other / "manifest.json").read_text(encoding="utf-8"))
    manifest["classes"][1] = "wood"
    seal(other / "manifest.json", {key: value for key, value in manifest.items() if key != "sha256"})
    check_rejected(tiny_bundle, tiny_data, other, fragments=(other, tiny_bundle, "class 2 is 'wood'"))


def test_a_run_of_none_of_several_bundles_is_rejected(check_rejected, tiny_bundle, small_bundle, tiny_data, short_run):
    options = (small_bundle, "--run", short_run)
    check_rejected(tiny_bundle, tiny_data, *options, fragments=(short_run, tiny_bundle, small_bundle))


def test_data_that_lacks_a_test_image_or_has_another_class_is_rejected(
    check_rejected, tiny_bundle, tiny_data, tmp_path
):
    data = shutil.copytree(tiny_data, tmp_path / "data")
    manifest = json.loads((tiny_bundle / "manifest.json").read_text(encoding="utf-8"))
    from overfly.runtime.files.hashing import sha256_file

    gone = next(path for path in data.rglob("*.jpg") if sha256_file(path) in manifest["provenance"]["test_sha256"])
    gone.unlink()
    check_rejected(tiny_bundle, data, fragments=(data, "1 of the 24"))
    for path in data.rglob("*.jpg"):
        path.write_bytes(path.read_bytes() + b"\0")
    (data / "forest").rename(data / "wood")
    check_rejected(tiny_bundle, data, fragments=(data, "wood", "8"))


@pytest.fixture(scope="module")
def validated(short_run, three_blocks, tmp_path_factory):
    """(run, fp32 bundle) of a short training with a validation part; not to be changed."""
    from overfly.export import ExportJob, export

    bundle = tmp_path_factory.mktemp("validated") / "bundle"
    with three_blocks():
        export(ExportJob(run=short_run, out=bundle, variants=("fp32",)))
    return short_run, bundle


@pytest.fixture
def copy_parts(tiny_data, tmp_path):
    """A function that copies the images of parts of a run's split; returns their folder and how many each part has."""

    def call(run, *parts):
        files = json.loads((run / "split.json").read_text(encoding="utf-8"))["files"]
        for file in files:
            if file["part"] in parts:
                path = tmp_path / "part" / file["name"]
                path.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(tiny_data / file["name"], path)
        return tmp_path / "part", [sum(file["part"] == part for file in files) for part in parts]

    return call


@pytest.mark.parametrize("with_run", [False, True])
@pytest.mark.parametrize("parts", [("train",), ("val",), ("train", "val")])
def test_images_that_the_run_has_all_seen_are_rejected(check_rejected, validated, copy_parts, parts, with_run):
    run, bundle = validated
    data, counts = copy_parts(run, *parts)
    options = ("--images", sum(counts), *(("--run", run) if with_run else ()))
    n_seen = dict.fromkeys(("train", "val"), 0) | dict(zip(parts, counts, strict=True))
    numbers = (f"trained on {n_seen['train']} ", f"validated on {n_seen['val']};")
    check_rejected(bundle, data, *options, fragments=(data, *numbers))


@pytest.mark.parametrize("with_run", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("part", "use"), [("train", "trained"), pytest.param("val", "validated", marks=pytest.mark.slow)]
)
def test_images_that_the_run_has_seen_are_counted_in_a_reason(
    overfly, validated, copy_parts, three_blocks, tmp_path, part, use, with_run
):
    run, bundle = validated
    data, (n_seen,) = copy_parts(run, part)
    image = next(data.rglob("*.jpg"))
    # Another content, so another image.
    image.with_name("new.jpg").write_bytes(image.read_bytes() + b"\0")
    options = ("--quick", "--images", n_seen + 1, "--json", *(("--run", run) if with_run else ()))
    with three_blocks():
        result = overfly("bench", bundle, "--data", data, "--out", tmp_path / "report", *options)
    report = json.loads(result.out)
    assert {row["status"] for row in report["rows"]} == {"ok"}
    (facts,) = report["bundles"]
    assert (facts["n_train"], facts["n_val"]) == ((n_seen, 0) if part == "train" else (0, n_seen))
    assert not report["validity"]["valid"]
    reasons = [reason["what"] for reason in report["validity"]["reasons"]]
    assert any(f"{use} on {n_seen} of the {n_seen + 1} " in what for what in reasons), reasons


@pytest.mark.parametrize("name", ["int8.bin", pytest.param("fp32.xml", marks=pytest.mark.slow)])
def test_an_altered_variant_is_a_row_that_failed_with_its_reason(overfly, tiny_bundle, tiny_data, tmp_path, name):
    bundle = shutil.copytree(tiny_bundle, tmp_path / "bundle")
    for other in {"fp16.xml", "int8.xml", "fp32.xml"} - {name, name.replace("bin", "xml")}:
        (bundle / other).unlink()
    (bundle / name).write_bytes(b"other")
    result = overfly("bench", bundle, "--data", tiny_data, "--out", tmp_path / "report", "--quick", "--json")
    rows = json.loads(result.out)["rows"]
    statuses = {row["spec"]["variant"]: row["status"] for row in rows if row["spec"]["backend"] == "openvino"}
    assert str(bundle / name) in statuses[name[:4]]
    assert all(str(bundle / f"{variant}.xml") in text for variant, text in statuses.items() if variant != name[:4])
    assert all(f"failed: {status}" in result.err for status in statuses.values())


def test_an_out_that_is_the_bundle_or_inside_the_data_is_rejected(overfly, content, tiny_bundle, tiny_data):
    before = content(tiny_bundle), content(tiny_data)
    for out in (tiny_bundle, tiny_data / "result"):
        result = overfly("bench", tiny_bundle, "--data", tiny_data, "--out", out, "--overwrite", "--quick")
        result.assert_failed(out)
    assert (content(tiny_bundle), content(tiny_data)) == before
