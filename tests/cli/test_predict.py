"""``overfly predict``: the right labels in every format, in order, whatever stands between the images."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from overfly.runtime.classifier import Classifier
from overfly.runtime.inference.devices import core

N_GOOD = 4  # the readable images in `folder`
MEBIBYTE = 1 << 20
N_BEFORE = 1_000
GROWTH_LIMIT = 50 * MEBIBYTE
TOLERANCE = 1e-3  # of a probability: the command asks for throughput, the classifier for latency


@pytest.fixture(scope="module")
def classifier(tiny_bundle):
    return Classifier.from_bundle(tiny_bundle, device="CPU", variant="int8")


@pytest.fixture(scope="module")
def images(tiny_data):
    """One image of each class."""
    return [min(folder.iterdir()) for folder in sorted(tiny_data.iterdir())]


@pytest.fixture(scope="module")
def good(tiny_data):
    """One image that can be read."""
    return min((tiny_data / "harbor").iterdir())


@pytest.fixture
def predict(overfly, tiny_bundle):
    """A function that calls the command with the small bundle on the CPU."""

    def call(*arguments):
        return overfly("predict", tiny_bundle, *arguments, "--device", "CPU")

    return call


@pytest.mark.parametrize("watches", [False, True])
def test_the_machine_stays_awake_while_images_are_classified_but_a_watch_may_sleep(
    predict, good, monkeypatch, kept_awake, watches
):
    awake = kept_awake("overfly.runtime.machine")
    states = []

    def interrupt(*_, **__):
        states.append(bool(awake))
        raise KeyboardInterrupt

    monkeypatch.setattr("overfly.cli.predict._write", interrupt)
    assert predict(good.parent, *(["--watch"] if watches else [])).code == 130
    assert states == [not watches]
    assert not awake


def rows_of(text):
    """Parse CSV as a reader of files would see it."""
    return list(csv.DictReader(io.StringIO(text, newline="")))


def assert_top(top, expected):
    """The (label, probability) pairs are those of a prediction."""
    assert [label for label, _ in top] == list(expected.labels)
    assert [probability for _, probability in top] == pytest.approx(expected.probabilities, abs=TOLERANCE)


@pytest.mark.parametrize("flag", [("--json",), ("--format", "json")])
def test_json_is_one_object_a_line_with_the_classifiers_answers(predict, classifier, images, flag):
    result = predict(*images, "--top-k", 3, *flag)
    result.assert_done()
    assert len(result.err.splitlines()) == 1
    answers = [json.loads(line) for line in result.out.splitlines()]
    assert [answer["path"] for answer in answers] == [str(path) for path in images]
    for answer, expected in zip(answers, classifier.predict(images, top_k=3), strict=True):
        assert answer.keys() == {"path", "label", "probability", "top"}
        assert_top([(pair["label"], pair["probability"]) for pair in answer["top"]], expected)
        assert (answer["label"], answer["probability"]) == tuple(answer["top"][0].values())


def test_csv_has_a_row_for_each_class_of_each_image(predict, classifier, images):
    result = predict(*images, "--top-k", 2, "--format", "csv")
    result.assert_done()
    assert result.out.splitlines()[0] == "path,label,probability,error"
    rows = rows_of(result.out)
    assert [row["path"] for row in rows] == [str(path) for path in images for _ in range(2)]
    assert {row["error"] for row in rows} == {""}
    for i, expected in enumerate(classifier.predict(images, top_k=2)):
        assert_top([(row["label"], float(row["probability"])) for row in rows[2 * i : 2 * i + 2]], expected)


def test_the_table_has_a_line_for_each_image(predict, classifier, images):
    result = predict(*images, "--top-k", 2)
    result.assert_done()
    lines = result.out.splitlines()
    for line, path, expected in zip(lines, images, classifier.predict(images, top_k=2), strict=True):
        cells = line.split()
        assert cells[4] == str(path)
        shown = [(cells[0], float(cells[1].rstrip("%")) / 100), (cells[2], float(cells[3].rstrip("%")) / 100)]
        assert_top(shown, expected)


@pytest.fixture
def strange(tmp_path, strange_pixels):
    """A picture that looks like no scene."""
    path = tmp_path / "strange.png"
    Image.fromarray(strange_pixels).save(path)
    return path


def test_unknown_marks_what_is_like_no_training_image(overfly, known_bundle, images, strange):
    arguments = ("predict", known_bundle, *images, strange, "--device", "CPU", "--unknown")
    found = [json.loads(line) for line in overfly(*arguments, "--json").out.splitlines()]
    assert [each["known"] for each in found] == [True] * len(images) + [False]
    plain = overfly("predict", known_bundle, *images, "--device", "CPU", "--json").out.splitlines()
    assert [each["label"] for each in found] == [json.loads(line)["label"] for line in plain] + ["unknown"]
    assert found[-1]["probability"] is None
    rows = rows_of(overfly(*arguments, "--format", "csv").out)
    assert [row["label"] for row in rows] == [each["label"] for each in found]
    assert overfly(*arguments).out.splitlines()[-1].split() == ["unknown", str(strange)]


def test_without_unknown_the_answers_say_nothing_of_it(overfly, known_bundle, strange):
    found = json.loads(overfly("predict", known_bundle, strange, "--device", "CPU", "--json").out)
    assert found.keys() == {"path", "label", "probability", "top"}
    assert found["label"] != "unknown"


def test_a_bundle_without_a_known_score_refuses_unknown(predict, images):
    predict(*images, "--unknown").assert_failed("--val-fraction", "--unknown")


def test_explain_draws_what_speaks_for_an_image_also_with_a_known_score(overfly, known_bundle, images, tmp_path):
    overfly("predict", known_bundle, images[0], "--device", "CPU", "--explain", tmp_path / "why").assert_done()
    assert len(list((tmp_path / "why").iterdir())) == 1


def test_explain_draws_a_picture_of_each_image_that_can_be_read(predict, images, tmp_path):
    (tmp_path / "images").mkdir()
    shutil.copy(images[0], tmp_path / "images" / "1.jpg")
    (tmp_path / "images" / "2.jpg").write_bytes(b"no image")
    plain = predict(tmp_path / "images", "--top-k", 2)
    result = predict(tmp_path / "images", "--top-k", 2, "--explain", tmp_path / "pictures")
    assert (result.code, result.out) == (1, plain.out)
    assert [path.name for path in (tmp_path / "pictures").iterdir()] == ["1.jpg.jpg"]
    with Image.open(tmp_path / "pictures" / "1.jpg.jpg") as picture:
        assert picture.size == (3 * 384 + 2 * 8, 384 + 36)
    again = predict(tmp_path / "images", "--explain", tmp_path / "pictures")
    again.assert_failed("pictures exists already")


def test_top_k_beyond_the_classes_gives_all_of_them_with_a_sum_of_one(predict, classifier, images):
    result = predict(images[0], "--json", "--top-k", 99)
    top = json.loads(result.out)["top"]
    assert sorted(pair["label"] for pair in top) == list(classifier.classes)
    assert sum(pair["probability"] for pair in top) == pytest.approx(1, abs=1e-4)
    assert [p["probability"] for p in top] == sorted((p["probability"] for p in top), reverse=True)


@pytest.mark.parametrize("variant", ["fp32", "fp16", "int8"])
def test_the_variant_asked_for_is_the_one_that_answers(predict, tiny_bundle, images, variant):
    result = predict(images[0], "--json", "--variant", variant, "--top-k", 8)
    expected = Classifier.from_bundle(tiny_bundle, device="CPU", variant=variant).predict(images[:1], top_k=8)[0]
    assert_top([(pair["label"], pair["probability"]) for pair in json.loads(result.out)["top"]], expected)


def test_a_folder_gives_all_images_below_it_sorted_and_nothing_else(predict, images, tmp_path):
    for name in ("b/2.jpg", "b/1.jpg", "a/deep/3.JPG", "0.jpg"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images[0], tmp_path / name)
    (tmp_path / "b" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.jpg").write_bytes(b"")
    result = predict(tmp_path, "--json")
    result.assert_done()
    paths = [json.loads(line)["path"] for line in result.out.splitlines()]
    assert paths == [str(tmp_path / name) for name in ("0.jpg", "a/deep/3.JPG", "b/1.jpg", "b/2.jpg")]


def test_folders_and_files_keep_the_order_given(predict, images, tmp_path):
    shutil.copy(images[0], tmp_path / "x.jpg")
    result = predict(images[1], tmp_path, images[0], "--json")
    paths = [json.loads(line)["path"] for line in result.out.splitlines()]
    assert paths == [str(images[1]), str(tmp_path / "x.jpg"), str(images[0])]


def test_images_that_need_a_range_are_named_once_for_each_folder_given(predict, tmp_path):
    for name in ("one/harbor/a.png", "one/runway/b.png", "two/a.png", "two/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.arange(64, dtype=np.uint16).reshape(8, 8) * 60).save(tmp_path / name)
    result = predict(tmp_path / "one", tmp_path / "two")
    warned = [line for line in result.err.splitlines() if "--range" in line]
    assert len(warned) == 2
    assert str(tmp_path / "one") in warned[0]
    assert str(tmp_path / "two") in warned[1]
    (warned,) = (line for line in predict(tmp_path).err.splitlines() if "--range" in line)


@pytest.fixture
def with_bad(images, tmp_path):
    """Four paths, of which the second is a truncated JPEG."""
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(images[1].read_bytes()[:-400])
    return [images[0], bad, images[1], images[2]]


def test_a_bad_image_in_the_middle_keeps_its_place_and_the_others_their_answers(predict, classifier, with_bad):
    result = predict(*with_bad, "--json")
    result.assert_failed(with_bad[1], out=result.out)
    answers = [json.loads(line) for line in result.out.splitlines()]
    assert [answer["path"] for answer in answers] == [str(path) for path in with_bad]
    assert answers[1] == {"path": str(with_bad[1]), "error": result.sentence.removeprefix("overfly: ")}
    good = [answers[0], *answers[2:]]
    expected = classifier.predict([with_bad[0], *with_bad[2:]])
    assert [answer["label"] for answer in good] == [prediction.label for prediction in expected]
    assert [a["probability"] for a in good] == pytest.approx([e.probabilities[0] for e in expected], abs=TOLERANCE)


def test_a_bad_image_is_named_in_csv_and_table_too(predict, with_bad):
    result = predict(*with_bad, "--format", "csv")
    assert result.code == 1
    rows = rows_of(result.out)
    assert [row["path"] for row in rows] == [str(path) for path in with_bad]
    assert (rows[1]["label"], rows[1]["probability"]) == ("", "")
    assert str(with_bad[1]) in rows[1]["error"]
    assert [bool(row["error"]) for row in rows] == [False, True, False, False]
    result = predict(*with_bad)
    assert result.code == 1
    lines = result.out.splitlines()
    assert len(lines) == 4
    assert lines[1].split() == ["(unreadable)", str(with_bad[1])]


def test_every_unreadable_image_is_named_once(predict, tmp_path, images):
    paths = [tmp_path / "empty.jpg", images[0], tmp_path / "text.png"]
    paths[0].write_bytes(b"")
    paths[2].write_text("no image")
    result = predict(*paths)
    assert result.code == 1
    sentences = [line for line in result.err.splitlines() if line.startswith("overfly: ")]
    assert [str(paths[0]) in sentences[0], str(paths[2]) in sentences[1]] == [True, True]
    assert len(sentences) == 2


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such file names")
def test_csv_and_json_carry_any_file_name(predict, images, tmp_path):
    names = ["a,b.jpg", 'say "hello".jpg', "two\nlines.jpg", "carriage\rreturn.jpg", "été 景.jpg", " spaces .jpg"]
    paths = [tmp_path / name for name in names]
    for path in paths:
        shutil.copy(images[0], path)
    rows = rows_of(predict(*paths, "--format", "csv").out)
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    assert len({(row["label"], row["probability"], row["error"]) for row in rows}) == 1
    answers = [json.loads(line) for line in predict(*paths, "--json").out.splitlines()]
    assert [answer["path"] for answer in answers] == [str(path) for path in paths]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has file names that are no text")
@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_a_file_name_that_is_no_text_does_not_stop_the_others(start, tiny_bundle, images, tmp_path, style):
    shutil.copy(images[0], str(tmp_path / "a\udcff.jpg"))
    shutil.copy(images[0], tmp_path / "b.jpg")
    process = start("predict", tiny_bundle, tmp_path, "--format", style, "--device", "CPU", PYTHONIOENCODING="utf-8")
    out, err = process.communicate()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    if style == "csv":
        assert [row["path"] for row in rows_of(out)] == [str(tmp_path / "a\udcff.jpg"), str(tmp_path / "b.jpg")]
    else:
        assert len(out.splitlines()) == 2


def test_a_missing_path_or_an_empty_folder_stops_before_anything_runs(predict, images, tmp_path):
    predict(images[0], tmp_path / "no.jpg").assert_failed(tmp_path / "no.jpg")
    predict(images[0], tmp_path).assert_failed(tmp_path, ".jpg")


@pytest.mark.parametrize("device", ["TPU", "CPU.7", "gpu7"])
def test_an_unknown_device_is_named_with_what_is_there(overfly, tiny_bundle, images, device):
    result = overfly("predict", tiny_bundle, images[0], "--device", device)
    result.assert_failed(device, core().available_devices[0])


def test_an_absent_gpu_is_explained_and_never_replaced(overfly, tiny_bundle, images):
    if any(name.startswith("GPU") for name in core().available_devices):
        pytest.skip("there is a GPU here")
    result = overfly("predict", tiny_bundle, images[0], "--device", "GPU")
    result.assert_failed("GPU", "CPU")


@pytest.mark.parametrize(
    ("options", "shown"),
    [
        (("--variant", "fp32"), "fp32 on CPU (.*) in f32"),
        (
            ("--variant", "fp32", "--execution-precision", "f16"),
            r"fp32 on CPU (.*) in ((f32|bf16) \(f16 was requested\)|f16)",
        ),
        (("--variant", "fp16", "--property", "INFERENCE_PRECISION_HINT=f32"), "fp16 on CPU (.*) in f32"),
    ],
)
def test_the_precision_is_shown_and_the_requested_one_if_it_differs(predict, images, options, shown):
    result = predict(images[0], *options)
    result.assert_done()
    assert re.fullmatch(f"running {shown}\n", result.err)


def test_an_empty_path_is_wrong_usage_and_does_not_stand_for_the_current_folder(predict, images, monkeypatch):
    monkeypatch.chdir(images[0].parent)
    predict("").assert_misused("PATH")


def test_auto_says_what_it_runs_on(overfly, tiny_bundle, images):
    result = overfly("predict", tiny_bundle, images[0])
    result.assert_done()
    device = next((d for d in core().available_devices if d.startswith("GPU")), "CPU")
    assert result.err.startswith(f"running int8 on {device} (")
    assert core().get_property(device, "FULL_DEVICE_NAME") in result.err


def test_a_variant_that_the_bundle_lacks_is_exit_code_1(overfly, fp32_bundle, images):
    result = overfly("predict", fp32_bundle[0], images[0], "--variant", "int8", "--device", "CPU")
    result.assert_failed(fp32_bundle[0], "int8", "fp32")


def test_auto_takes_the_smallest_variant_there_is(overfly, fp32_bundle, images):
    result = overfly("predict", fp32_bundle[0], images[0], "--device", "CPU", "--json")
    result.assert_done()
    expected = Classifier.from_bundle(fp32_bundle[0], device="CPU", variant="fp32").predict(images[:1])[0]
    assert json.loads(result.out)["probability"] == pytest.approx(expected.probabilities[0], abs=TOLERANCE)


def test_a_path_that_is_no_bundle_is_named(overfly, tiny_run, images, tmp_path):
    overfly("predict", tmp_path / "no", images[0]).assert_failed(tmp_path / "no")
    overfly("predict", images[0], images[0]).assert_failed(images[0])
    overfly("predict", tiny_run, images[0]).assert_failed(tiny_run / "manifest.json")


@pytest.mark.parametrize("name", ["manifest.json", "int8.xml", "int8.bin"])
@pytest.mark.parametrize("change", ["missing", "altered", "cut"])
def test_a_file_that_is_missing_or_altered_is_named(overfly, tiny_bundle, images, tmp_path, name, change):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    damage(bundle / name, change)
    result = overfly("predict", bundle, images[0], "--device", "CPU")
    result.assert_failed(bundle / name)


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


def test_a_box_needs_only_the_manifest_and_the_two_files_of_its_variant(overfly, tiny_bundle, images, tmp_path):
    for name in ("manifest.json", "int8.xml", "int8.bin"):
        shutil.copy(tiny_bundle / name, tmp_path / name)
    overfly("predict", tmp_path, images[0], "--device", "CPU").assert_done()


def test_pixels_do_not_depend_on_the_container(predict, images, tmp_path):
    """The same pixels as PNG, TIFF, BMP, lossless WebP and, when grey, in any mode, have the same answer."""
    with Image.open(images[3]) as image:
        image.load()
    grey = image.convert("L")
    wide = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    saved = {"1.png": image, "2.tif": image, "3.bmp": image, "4.webp": image, "5.png": image.convert("RGBA")}
    greys = {"1.png": grey.convert("RGB"), "2.png": grey, "3.tiff": grey, "4.png": wide, "5.tif": wide}
    greys["6.png"] = grey.convert("P")
    for folder, files in (("color", saved), ("grey", greys)):
        (tmp_path / folder).mkdir()
        for name, image in files.items():
            image.save(tmp_path / folder / name, **({"lossless": True} if name.endswith("webp") else {}))
        result = predict(tmp_path / folder, "--json", "--top-k", 8)
        result.assert_done()
        tops = [json.loads(line)["top"] for line in result.out.splitlines()]
        assert len(tops) == len(files)
        assert all(top == tops[0] for top in tops)


@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.slow)])
def test_a_reader_that_closes_the_pipe_is_no_error(start, tiny_bundle, tiny_data, unbuffered):
    command = ("predict", tiny_bundle, *[tiny_data] * 8, "--device", "CPU", "--variant", "fp32")
    process = start(*command, PYTHONUNBUFFERED=unbuffered)
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


@pytest.mark.parametrize("unbuffered", ["", pytest.param("1", marks=pytest.mark.slow)])
def test_a_closed_standard_error_stops_no_image(start, tiny_bundle, images, tmp_path, unbuffered):
    (tmp_path / "a.jpg").write_bytes(b"")
    command = ("predict", tiny_bundle, tmp_path / "a.jpg", *images, "--device", "CPU", "--json")
    process = start(*command, PYTHONUNBUFFERED=unbuffered)
    process.stderr.close()
    process.stderr = None
    out, _ = process.communicate()
    answers = [json.loads(line) for line in out.splitlines()]
    assert ["error" in answer for answer in answers] == [True] + [False] * len(images)
    assert process.returncode == 1


@pytest.mark.skipif(sys.platform == "win32", reason="Windows allows no such name")
def test_an_error_about_an_odd_name_stays_on_one_line(overfly, tiny_bundle, tmp_path):
    path = tmp_path / "no\nsuch\x1b[31m.jpg"
    result = overfly("predict", tiny_bundle, path, "--device", "CPU")
    result.assert_failed(r"no\nsuch\x1b[31m.jpg")


def bomb():
    """Return a PNG of some hundred bytes that claims 100,000 x 100,000 pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0" * 999)) + chunk(b"IEND", b"")
    )


@pytest.fixture
def folder(tmp_path, good):
    """A folder of every kind of unreadable image, with good ones between, and the names of the unreadable ones."""
    if sys.platform == "win32":
        pytest.skip("Windows has neither these names nor links and pipes for everyone")
    path = tmp_path / "images"
    path.mkdir()
    bad = {
        "b bomb.png": lambda p: p.write_bytes(bomb()),
        "c empty.jpg": lambda p: p.touch(),
        "e loop.jpg": lambda p: p.symlink_to(p.name),
        "f dangling.jpg": lambda p: p.symlink_to("nowhere"),
        "g pipe.jpg": os.mkfifo,
        "h text.tif": lambda p: p.write_text("no image"),
        "i cut.jpg": lambda p: p.write_bytes(good.read_bytes()[:-400]),
        "j two\nlines.jpg": lambda p: p.touch(),
        "k \udcff.jpg": lambda p: p.touch(),
    }
    for name, make in bad.items():
        make(path / name)
    for name in ("a.jpg", "d folder.jpg/inside.jpg", "h good\nname.jpg", "z.jpg"):
        (path / name).parent.mkdir(exist_ok=True)
        shutil.copy(good, path / name)
    (path / "d folder.jpg" / "up").symlink_to("..")
    return path, sorted(bad)


def escaped(name):
    """Return a name as a person sees it."""
    return name.replace("\n", "\\n").replace("\udcff", "\\udcff")


@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_each_kind_of_unreadable_image_is_named_in_the_output_and_in_the_log(start, tiny_bundle, folder, style):
    path, bad = folder
    process = start("predict", tiny_bundle, path, "--device", "CPU", "--format", style)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    sentences = err.splitlines()[1:]  # after what it runs on
    assert len(sentences) == len(bad)
    for sentence, name in zip(sentences, bad, strict=True):
        assert sentence.startswith("overfly: ")
        assert escaped(name) in sentence
    if style == "json":
        lines = [json.loads(line) for line in out.splitlines()]
        errors = {Path(line["path"]).name: line["error"] for line in lines if "error" in line}
        assert sorted(errors) == bad
        assert sum("label" in line for line in lines) == N_GOOD
    elif style == "csv":
        rows = list(csv.DictReader(io.StringIO(out, newline="")))
        assert len(rows) == len(bad) + N_GOOD
        assert sum(bool(row["error"]) for row in rows) == len(bad)
        assert any("j two\nlines.jpg" in row["path"] for row in rows)
    else:
        lines = out.splitlines()
        assert len(lines) == len(bad) + N_GOOD
        assert sum(line.startswith("(unreadable)") for line in lines) == len(bad)
        assert any(line.endswith("h good\\nname.jpg") for line in lines)


def test_strict_stops_at_the_first_and_keeps_what_was_answered(start, tiny_bundle, folder):
    path, _ = folder
    process = start("predict", tiny_bundle, path, "--device", "CPU", "--format", "json", "--strict")
    out, err = process.communicate(timeout=300)
    assert process.returncode == 1
    answers = [json.loads(line) for line in out.splitlines()]
    assert [Path(answer["path"]).name for answer in answers] == ["a.jpg", "b bomb.png"]
    assert answers[0]["label"]
    (sentence,) = err.splitlines()[1:]  # after what it runs on
    assert "b bomb.png" in sentence


def test_strict_changes_nothing_if_every_image_can_be_read(overfly, tiny_bundle, good):
    plain = overfly("predict", tiny_bundle, good, good, "--device", "CPU")
    strict = overfly("predict", tiny_bundle, good, good, "--device", "CPU", "--strict")
    strict.assert_done()
    assert strict.out == plain.out


WITHOUT_RIGHTS = """
import os, sys
from overfly.cli import run
bundle, image, images = sys.argv[1:]
# Once before, as another user may not read what Python and OpenVINO load.
assert run(["predict", bundle, image, "--device", "CPU", "--json"]) == 0
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
sys.exit(run(["predict", bundle, images, "--device", "CPU", "--json"]))
"""


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="Windows has other rights")
def test_images_without_permission_are_named_and_the_others_classified(python, tiny_bundle, good):
    with tempfile.TemporaryDirectory() as public:
        images = Path(public, "images")
        (images / "closed").mkdir(parents=True)
        shutil.copytree(tiny_bundle, Path(public, "bundle"))
        for name in ("a.jpg", "secret.jpg", "closed/inside.jpg", "z.jpg"):
            shutil.copy(good, images / name)
        for path in (Path(public), *Path(public).rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        (images / "secret.jpg").chmod(0)
        (images / "closed").chmod(0)
        done = python(WITHOUT_RIGHTS, Path(public, "bundle"), good, images)
        (images / "closed").chmod(0o755)
    assert done.code == 1, done.err
    answers = {Path(a["path"]).name: a for a in map(json.loads, done.out.splitlines()[1:])}
    assert list(answers) == ["a.jpg", "closed", "secret.jpg", "z.jpg"]
    for name in ("closed", "secret.jpg"):
        assert name in answers[name]["error"]
    assert len([line for line in done.err.splitlines() if line.startswith("overfly: ")]) == 2
    assert answers["a.jpg"]["label"] == answers["z.jpg"]["label"]


@pytest.mark.skipif(sys.platform == "win32", reason="sends the signal that a terminal's Ctrl-C does")
@pytest.mark.parametrize("style", ["table", "json", "csv"])
def test_an_interrupt_ends_quietly_with_whole_lines(start, tiny_bundle, tiny_data, style):
    process = start(
        "predict", tiny_bundle, *[tiny_data] * 60, "--device", "CPU", "--format", style, "--variant", "fp32"
    )
    first = process.stdout.readline() + process.stdout.readline()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 130
    assert err.splitlines()[1:] == ["overfly: interrupted"]
    lines = (first + out).splitlines()
    assert 2 <= len(lines) < 60 * 96
    assert (first + out).endswith("\n")
    if style == "json":
        assert all(json.loads(line)["label"] for line in lines)
    else:
        assert all(".jpg" in line for line in lines[1:])


def resident_bytes(process):
    """Return the resident memory of a running process."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="utf-8")
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS:"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory from /proc")
@pytest.mark.parametrize(
    "n_images", [pytest.param(6_000, marks=pytest.mark.slow), pytest.param(50_000, marks=pytest.mark.full)]
)
def test_memory_stays_flat_and_every_image_gets_its_line(tiny_bundle, tiny_data, tmp_path, n_images):
    originals = [min(folder.iterdir()) for folder in sorted(tiny_data.iterdir())]
    for index in range(n_images):
        folder = tmp_path / "images" / f"{index // 1_000:02}"
        folder.mkdir(parents=True, exist_ok=True)
        os.link(originals[index % len(originals)], folder / f"{index:05}.jpg")
    command = [sys.executable, "-m", "overfly.cli", "predict", str(tiny_bundle), str(tmp_path / "images")]
    answers, early, late = [], 0, 0
    with subprocess.Popen(
        [*command, "--device", "CPU", "--format", "csv"], stdout=subprocess.PIPE, text=True
    ) as process:
        for line in process.stdout:
            answers.append(line.rstrip("\r\n").split(","))
            if len(answers) == N_BEFORE:
                early = resident_bytes(process)
            elif len(answers) % 1_000 == 0:
                late = max(late, resident_bytes(process))
    assert process.returncode == 0
    names = [Path(path).name for path, *_ in answers[1:]]
    assert names == [f"{index:05}.jpg" for index in range(n_images)]
    # The same image has the same answer wherever it stands in the stream.
    labels = [label for _, label, *_ in answers[1:]]
    assert labels == [labels[index % len(originals)] for index in range(n_images)]
    assert early > 0
    assert late - early < GROWTH_LIMIT


@pytest.mark.parametrize("device", ["AUTO", "AUTO:CPU", "HETERO:CPU"])
def test_openvinos_own_devices_give_the_same_answer_as_the_cpu(overfly, tiny_bundle, images, device):
    answers = [
        json.loads(overfly("predict", tiny_bundle, images[0], "--device", name, "--variant", "fp32", "--json").out)
        for name in (device, "CPU")
    ]
    assert answers[0]["label"] == answers[1]["label"]


@pytest.mark.parametrize(
    "change", [{"variants": {}}, {"classes": []}, {"classes": ["a", "a"]}, {"classes": ["a", "b", "c"]}], ids=str
)
def test_a_manifest_that_can_not_be_true_is_rejected(overfly, tiny_bundle, images, seal, tmp_path, change):
    bundle = tmp_path / "bundle"
    shutil.copytree(tiny_bundle, bundle)
    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))
    seal(bundle / "manifest.json", manifest | change)
    overfly("predict", bundle, images[0], "--device", "CPU").assert_failed(bundle)
    overfly("check", bundle, "--device", "CPU").assert_failed(bundle)
