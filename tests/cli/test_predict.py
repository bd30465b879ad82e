"""``overfly predict``: the right labels in every format, in order, whatever stands between the pictures."""

import csv
import io
import json
import re
import shlex
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from overfly.runtime.classifier import Classifier
from overfly.runtime.inference.devices import core

TOLERANCE = 1e-3  # of a probability: the command asks for throughput, the classifier for latency


@pytest.fixture(scope="module")
def classifier(tiny_bundle):
    return Classifier.from_bundle(tiny_bundle, device="CPU", variant="int8")


@pytest.fixture(scope="module")
def pictures(tiny_data):
    """One picture of each class."""
    return [min(folder.iterdir()) for folder in sorted(tiny_data.iterdir())]


@pytest.fixture
def predict(overfly, tiny_bundle):
    """A function that calls the command with the small bundle on the CPU."""

    def call(*arguments):
        return overfly("predict", tiny_bundle, *arguments, "--device", "CPU")

    return call


def rows_of(text):
    """Parse CSV as a reader of files would see it."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def assert_top(top, expected):
    """The (label, probability) pairs are those of a prediction."""
    assert [label for label, _ in top] == list(expected.labels)
    assert [probability for _, probability in top] == pytest.approx(expected.probabilities, abs=TOLERANCE)


@pytest.mark.parametrize("flag", [("--json",), ("--format", "json")])
def test_json_is_one_object_a_line_with_the_classifiers_answers(predict, classifier, pictures, flag):
    result = predict(*pictures, "--top-k", 3, *flag)
    result.assert_done()
    assert len(result.err.splitlines()) == 1
    answers = [json.loads(line) for line in result.out.splitlines()]
    assert [answer["path"] for answer in answers] == [str(path) for path in pictures]
    for answer, expected in zip(answers, classifier.predict(pictures, top_k=3), strict=True):
        assert answer.keys() == {"path", "label", "probability", "top"}
        assert_top([(pair["label"], pair["probability"]) for pair in answer["top"]], expected)
        assert (answer["label"], answer["probability"]) == tuple(answer["top"][0].values())


def test_csv_has_a_row_for_each_class_of_each_picture(predict, classifier, pictures):
    result = predict(*pictures, "--top-k", 2, "--format", "csv")
    result.assert_done()
    assert result.out.splitlines()[0] == "path,label,probability,error"
    rows = rows_of(result.out)
    assert [row["path"] for row in rows] == [str(path) for path in pictures for _ in range(2)]
    assert {row["error"] for row in rows} == {""}
    for i, expected in enumerate(classifier.predict(pictures, top_k=2)):
        assert_top([(row["label"], float(row["probability"])) for row in rows[2 * i : 2 * i + 2]], expected)


def test_the_table_has_a_line_for_each_picture(predict, classifier, pictures):
    result = predict(*pictures, "--top-k", 2)
    result.assert_done()
    lines = result.out.splitlines()
    for line, path, expected in zip(lines, pictures, classifier.predict(pictures, top_k=2), strict=True):
        cells = line.split()
        assert cells[4] == str(path)
        shown = [(cells[0], float(cells[1].rstrip("%")) / 100), (cells[2], float(cells[3].rstrip("%")) / 100)]
        assert_top(shown, expected)


def test_top_k_beyond_the_classes_gives_all_of_them_with_a_sum_of_one(predict, classifier, pictures):
    result = predict(pictures[0], "--json", "--top-k", 99)
    top = json.loads(result.out)["top"]
    assert sorted(pair["label"] for pair in top) == list(classifier.classes)
    assert sum(pair["probability"] for pair in top) == pytest.approx(1, abs=1e-4)
    assert [p["probability"] for p in top] == sorted((p["probability"] for p in top), reverse=True)


@pytest.mark.parametrize("variant", ["fp32", "fp16", "int8"])
def test_the_variant_asked_for_is_the_one_that_answers(predict, tiny_bundle, pictures, variant):
    result = predict(pictures[0], "--json", "--variant", variant, "--top-k", 8)
    expected = Classifier.from_bundle(tiny_bundle, device="CPU", variant=variant).predict(pictures[:1], top_k=8)[0]
    assert_top([(pair["label"], pair["probability"]) for pair in json.loads(result.out)["top"]], expected)


def test_a_folder_gives_all_pictures_below_it_sorted_and_nothing_else(predict, pictures, tmp_path):
    for name in ("b/2.jpg", "b/1.jpg", "a/deep/3.JPG", "0.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(pictures[0], tmp_path / name)
    (tmp_path / "b" / "notes.txt").write_text("no picture")
    (tmp_path / ".hidden.jpg").write_bytes(b"")
    result = predict(tmp_path, "--json")
    result.assert_done()
    paths = [json.loads(line)["path"] for line in result.out.splitlines()]
    assert paths == [str(tmp_path / name) for name in ("0.jpg", "a/deep/3.JPG", "b/1.jpg", "b/2.jpg")]


def test_folders_and_files_keep_the_order_given(predict, pictures, tmp_path):
    shutil.copy(pictures[0], tmp_path / "x.jpg")
    result = predict(pictures[1], tmp_path, pictures[0], "--json")
    paths = [json.loads(line)["path"] for line in result.out.splitlines()]
    assert paths == [str(pictures[1]), str(tmp_path / "x.jpg"), str(pictures[0])]


@pytest.fixture
def with_bad(pictures, tmp_path):
    """Four paths, of which the second is a truncated JPEG."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(pictures[1].read_bytes()[:1500])
    return [pictures[0], bad, pictures[1], pictures[2]]


def test_a_bad_picture_in_the_middle_keeps_its_place_and_the_others_their_answers(predict, classifier, with_bad):
    result = predict(*with_bad, "--json")
    result.assert_failed(with_bad[1], "can't be decoded", "remove or replace", out=result.out)
    answers = [json.loads(line) for line in result.out.splitlines()]
    assert [answer["path"] for answer in answers] == [str(path) for path in with_bad]
    assert answers[1] == {"path": str(with_bad[1]), "error": result.sentence.removeprefix("overfly: ")}
    good = [answers[0], *answers[2:]]
    expected = classifier.predict([with_bad[0], *with_bad[2:]])
    assert [answer["label"] for answer in good] == [prediction.label for prediction in expected]
    assert [a["probability"] for a in good] == pytest.approx([e.probabilities[0] for e in expected], abs=TOLERANCE)


def test_a_bad_picture_is_named_in_csv_and_table_too(predict, with_bad):
    result = predict(*with_bad, "--format", "csv")
    assert result.code == 1
    rows = rows_of(result.out)
    assert [row["path"] for row in rows] == [str(path) for path in with_bad]
    assert (rows[1]["label"], rows[1]["probability"]) == ("", "")
    assert "can't be decoded" in rows[1]["error"]
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]
    result = predict(*with_bad)
    assert result.code == 1
    lines = result.out.splitlines()
    assert len(lines) == 4
    assert lines[1].split() == ["(unreadable)", str(with_bad[1])]


def test_every_bad_picture_is_named_once(predict, tmp_path, pictures):
    paths = [tmp_path / "empty.jpg", pictures[0], tmp_path / "text.png"]
    paths[0].write_bytes(b"")
    paths[2].write_text("no picture")
    result = predict(*paths)
    assert result.code == 1
    sentences = [line for line in result.err.splitlines() if line.startswith("overfly: ")]
    assert [str(paths[0]) in sentences[0], str(paths[2]) in sentences[1]] == [True, True]
    assert "is empty" in sentences[0]
    assert "no known image format" in sentences[1]
    assert len(sentences) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")
def test_csv_and_json_carry_any_file_name(predict, pictures, tmp_path):
    names = ["a,b.jpg", 'say "hello".jpg', "two\nlines.jpg", "carriage\rreturn.jpg", "été 景.jpg", " spaces .jpg"]
    paths = [tmp_path / name for name in names]
    for path in paths:
        shutil.copy(pictures[0], path)
    rows = rows_of(predict(*paths, "--format", "csv").out)
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert len({(row["label"], row["probability"], row["error"]) for row in rows}) == 1
    answers = [json.loads(line) for line in predict(*paths, "--json").out.splitlines()]
    assert [answer["path"] for answer in answers] == [str(path) for path in paths]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_a_file_name_that_is_no_text_does_not_stop_the_others(start, tiny_bundle, pictures, tmp_path, style):
    shutil.copy(pictures[0], str(tmp_path / "a\udcff.jpg"))
    shutil.copy(pictures[0], tmp_path / "b.jpg")
    process = start("predict", tiny_bundle, tmp_path, "--format", style, "--device", "CPU", PYTHONIOENCODING="utf-8")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert len(out.splitlines()) == (3 if style == "csv" else 2)


def test_a_missing_path_or_an_empty_folder_stops_before_anything_runs(predict, pictures, tmp_path):
    predict(pictures[0], tmp_path / "no.jpg").assert_failed(tmp_path / "no.jpg", "does not exist", "expected")
    predict(pictures[0], tmp_path).assert_failed(tmp_path, ".jpg")


@pytest.mark.parametrize("device", ["TPU", "CPU.7", "gpu7"])
def test_an_unknown_device_is_named_with_what_is_there(overfly, tiny_bundle, pictures, device):
    result = overfly("predict", tiny_bundle, pictures[0], "--device", device)
    result.assert_failed(device, "found", core().available_devices[0], "choose one of them")


def test_an_absent_gpu_is_explained_and_never_replaced(overfly, tiny_bundle, pictures):
    if any(name.startswith("GPU") for name in core().available_devices):
        pytest.skip("there is a GPU here")
    result = overfly("predict", tiny_bundle, pictures[0], "--device", "GPU")
    result.assert_failed("no device GPU here", "found: CPU")


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--variant", "fp32"), "fp32 on CPU (.*) in f32"),
        (
            ("--variant", "fp32", "--execution-precision", "f16"),
            r"fp32 on CPU (.*) in ((f32|bf16) \(f16 was requested\)|f16)",
        ),
        (("--variant", "fp16", "--property", "INFERENCE_PRECISION_HINT=f32"), "fp16 on CPU (.*) in f32"),
    ],
)
def test_the_precision_in_force_is_told_and_the_one_asked_for_where_it_is_another(predict, pictures, options, told):
    result = predict(pictures[0], *options)
    result.assert_done()
    assert re.fullmatch(f"running {told}\n", result.err)


def test_an_empty_path_is_wrong_usage_and_does_not_stand_for_the_current_folder(predict, pictures, monkeypatch):
    monkeypatch.chdir(pictures[0].parent)
    predict("").assert_misused("the path is empty")


def test_auto_says_what_it_runs_on(overfly, tiny_bundle, pictures):
    result = overfly("predict", tiny_bundle, pictures[0])
    result.assert_done()
    device = next((d for d in core().available_devices if d.startswith("GPU")), "CPU")
    assert result.err.startswith(f"running int8 on {device} (")
    assert core().get_property(device, "FULL_DEVICE_NAME") in result.err


def test_a_variant_that_the_bundle_lacks_is_exit_code_1(overfly, fp32_bundle, pictures):
    result = overfly("predict", fp32_bundle[0], pictures[0], "--variant", "int8", "--device", "CPU")
    result.assert_failed(fp32_bundle[0], "no variant int8", "it holds fp32", "--variant int8")


def test_auto_takes_the_smallest_variant_there_is(overfly, fp32_bundle, pictures):
    result = overfly("predict", fp32_bundle[0], pictures[0], "--device", "CPU", "--json")
    result.assert_done()
    expected = Classifier.from_bundle(fp32_bundle[0], device="CPU", variant="fp32").predict(pictures[:1])[0]
    assert json.loads(result.out)["probability"] == pytest.approx(expected.probabilities[0], abs=TOLERANCE)


def test_what_is_no_bundle_is_named(overfly, tiny_run, pictures, tmp_path):
    overfly("predict", tmp_path / "no", pictures[0]).assert_failed(tmp_path / "no", "found nothing", "overfly export")
    overfly("predict", pictures[0], pictures[0]).assert_failed(pictures[0], "found a file", "overfly export")
    overfly("predict", tiny_run, pictures[0]).assert_failed(tiny_run / "manifest.json", "is missing")


@pytest.mark.parametrize("name", ["manifest.json", "int8.xml", "int8.bin"])
@pytest.mark.parametrize("change", ["missing", "altered", "cut"])
def test_a_file_that_is_missing_or_altered_is_named(overfly, tiny_bundle, pictures, tmp_path, name, change):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    damage(bundle / name, change)
    result = overfly("predict", bundle, pictures[0], "--device", "CPU")
    result.assert_failed(bundle / name, "again" if name != "manifest.json" or change != "missing" else "complete?")


def damage(path, change):
    """Delete a file, change a byte in its middle, or cut it in half."""
    content = bytearray(path.read_bytes())
    if change == "missing":
        path.unlink()
        return
    if change == "cut":
        del content[len(content) // 2 :]
    else:
        content[len(content) // 2] ^= 0x80
    path.write_bytes(content)


def test_a_box_needs_only_the_manifest_and_the_two_files_of_its_variant(overfly, tiny_bundle, pictures, tmp_path):
    for name in ("manifest.json", "int8.xml", "int8.bin"):
        shutil.copy(tiny_bundle / name, tmp_path / name)
    overfly("predict", tmp_path, pictures[0], "--device", "CPU").assert_done()


def test_pixels_do_not_depend_on_the_container(predict, pictures, tmp_path):
    """The same pixels as PNG, TIFF, BMP, lossless WebP and, when grey, in any mode, have the same answer."""
    with Image.open(pictures[3]) as picture:
        picture.load()
    grey = picture.convert("L")
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    saved = {"1.png": picture, "2.tif": picture, "3.bmp": picture, "4.webp": picture, "5.png": picture.convert("RGBA")}
    greys = {"1.png": grey.convert("RGB"), "2.png": grey, "3.tiff": grey, "4.png": wide, "5.tif": wide}
    greys["6.png"] = grey.convert("P")
    for folder, files in (("colour", saved), ("grey", greys)):
        (tmp_path / folder).mkdir()
        for name, image in files.items():
            image.save(tmp_path / folder / name, **({"lossless": True} if name.endswith("webp") else {}))
        result = predict(tmp_path / folder, "--json", "--top-k", 8)
        result.assert_done()
        tops = [json.loads(line)["top"] for line in result.out.splitlines()]
        assert len(tops) == len(files)
        assert all(top == tops[0] for top in tops)


def test_a_reader_that_closes_the_pipe_is_no_error(start, tiny_bundle, tiny_data):
    process = start("predict", tiny_bundle, *[tiny_data] * 8, "--device", "CPU", "--variant", "fp32")
    assert process.stdout.readline().endswith(".jpg\n")
    process.stdout.close()
    process.stdout = None
    _, err = process.communicate()
    assert len(err.splitlines()) == 1
    assert err.startswith("running ")
    assert process.returncode == 0


@pytest.mark.skipif(sys.platform == "win32", reason="a shell's way to close a stream")
@pytest.mark.parametrize(("closing", "n_answers"), [(">&-", 0), ("2>&-", 96), (">&- 2>&-", 0)])
def test_a_stream_that_the_caller_closed_goes_nowhere_and_stops_nothing(tiny_bundle, tiny_data, closing, n_answers):
    command = [sys.executable, "-m", "overfly.cli", "predict", tiny_bundle, tiny_data, "--device", "CPU", "--json"]
    line = f"{shlex.join(map(str, command))} {closing}"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False)  # noqa: S602 - closes a stream
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == n_answers
    assert "Traceback" not in done.stderr


def test_when_no_one_reads_the_notes_every_picture_is_answered_all_the_same(start, tiny_bundle, pictures, tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    process = start("predict", tiny_bundle, tmp_path / "a.jpg", *pictures, "--device", "CPU", "--json")
    process.stderr.close()
    process.stderr = None
    out, _ = process.communicate()
    answers = [json.loads(line) for line in out.splitlines()]
    assert ["error" in answer for answer in answers] == [True] + [False] * len(pictures)
    assert process.returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no such name")
def test_an_error_about_an_odd_name_stays_on_one_line(overfly, tiny_bundle, tmp_path):
    path = tmp_path / "no\nsuch\x1b[31m.jpg"
    result = overfly("predict", tiny_bundle, path, "--device", "CPU")
    result.assert_failed(r"no\nsuch\x1b[31m.jpg does not exist")
