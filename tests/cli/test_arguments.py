"""What Windows leaves to the program: wildcards, and arguments with a quotation mark or a reserved name."""

import json
from pathlib import Path, PureWindowsPath

import click
import pytest

from overfly.cli import arguments
from overfly.cli.arguments import check_not_reserved, check_quotes, expand_wildcards


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working folder, with names as browsers and people write them."""
    monkeypatch.chdir(tmp_path)
    for name in (
        "scene1.png",
        "scene2.png",
        "scene[1].png",
        "survey [2019]/a.png",
        "survey [2019]/b.png",
        "survey 2/c.png",
    ):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("scene[1].png", ["scene[1].png"]),
        ("scene[2].png", ["scene[2].png"]),
        ("scene?.png", ["scene1.png", "scene2.png"]),
        ("scene[1]*", ["scene[1].png"]),
        ("scene*.png", ["scene1.png", "scene2.png", "scene[1].png"]),
        ("survey [2019]/*.png", ["survey [2019]/a.png", "survey [2019]/b.png"]),
        ("*/c.png", ["survey 2/c.png"]),
        ("no*.png", ["no*.png"]),
        ("--device", ["--device"]),
        ("", [""]),
    ],
)
@pytest.mark.usefixtures("folder")
def test_only_star_and_question_mark_are_wildcards_and_an_existing_name_is_literal(text, expanded):
    # On Windows, what was expanded has backslashes.
    assert [found.replace("\\", "/") for found in expand_wildcards([text])] == expanded


@pytest.mark.parametrize("text", ["*/r.png", "r*/*.png", "**"])
def test_a_wildcard_does_not_stand_for_what_is_hidden(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    for name in ("thumbs.db", "r/a.png", "$RECYCLE.BIN/r.png", "r2/.hidden.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    expected = {"*/r.png": ["*/r.png"], "r*/*.png": ["r/a.png"], "**": ["r", "r2"]}[text]
    assert [found.replace("\\", "/") for found in expand_wildcards([text])] == expected


def test_the_drive_of_a_wildcard_is_not_looked_at_because_windows_hides_the_topmost_folder(monkeypatch):
    found = PureWindowsPath("//?/C:/pics/a.jpg")
    monkeypatch.setattr(arguments, "Path", PureWindowsPath)
    looked_at = []
    monkeypatch.setattr("overfly.runtime.images.discovery.is_passed_over", lambda path: looked_at.append(path.name))
    assert arguments._is_visible(found, PureWindowsPath("//?/C:/pics/*.jpg"))
    assert looked_at == ["a.jpg"]


@pytest.mark.parametrize(
    "text",
    [
        'C:\\my images" --device CPU',
        'images"',
        '"',
        'C:\\my images" --property A=B',
        '--out=C:\\my images" --device CPU',
        '--out=C:\\my images" --property A=B',
    ],
)
def test_an_argument_that_swallowed_others_is_wrong_usage(text):
    with pytest.raises(click.UsageError):
        check_quotes(["predict", text])


@pytest.mark.parametrize("text", ["images", 'NAME={"key": 1}', '--set=name="a"', '--property=NAME="a b"', "it's"])
def test_other_arguments_may_have_quotation_marks(text):
    check_quotes(["predict", text])


def test_the_sentence_for_a_swallowed_argument():
    with pytest.raises(click.UsageError) as caught:
        check_quotes(['C:\\my images" --device CPU'])
    assert caught.value.message == (
        'the argument C:\\my images" --device CPU has a quotation mark in it, because a backslash stood before the '
        'closing one: write "C:\\my images" instead of "C:\\my images\\"'
    )


def test_the_sentence_for_a_whole_drive():
    with pytest.raises(click.UsageError) as caught:
        check_quotes(['E:" --device CPU'])
    assert caught.value.message.endswith('write E:\\ without quotation marks instead of "E:\\"')


@pytest.mark.parametrize(
    "name", ["con", "NUL", "nul:", "aux.zip", "out/com1", "lpt9.tar.gz", "COM¹", "con /run", "conin$"]
)
def test_a_reserved_name_is_wrong_usage(name):
    with pytest.raises(click.BadParameter) as caught:
        check_not_reserved(Path(name))
    assert "Windows" in caught.value.message


@pytest.mark.parametrize("name", ["contour", "com10", "out.con", "console/run", "nully"])
def test_other_names_are_not_reserved(name):
    check_not_reserved(Path(name))


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "scenes", "--out", "con"),
        ("export", "run", "--out", "nul.zip"),
        ("bench", "bundle", "--data", "scenes", "--out", "aux"),
        ("paper", "scenes", "--out", "prn"),
        ("sample", "con"),
        ("demo", "con"),
        ("fetch", "ucmerced", "con"),
    ],
    ids=" ".join,
)
def test_an_output_with_a_reserved_name_is_rejected_before_the_work_on_windows_alone(on_windows, folder, arguments):
    before = sorted(folder.rglob("*"))
    on_windows(*arguments).assert_misused(repr(arguments[-1]))
    assert sorted(folder.rglob("*")) == before


def test_a_swallowed_argument_is_wrong_usage_on_windows(on_windows):
    result = on_windows("predict", "bundle", 'my images" --device CPU')
    assert (result.code, result.out) == (2, "")
    assert 'my images" --device CPU' in result.err


@pytest.mark.usefixtures("folder")
def test_the_image_with_brackets_in_its_name_is_the_one_that_is_classified(on_windows, fp32_bundle, tiny_data):
    for name, class_name in (("scene[1].png", "harbor"), ("scene1.png", "forest")):
        Path(name).write_bytes(min((tiny_data / class_name).iterdir()).read_bytes())
    options = ("--device", "CPU", "--json")
    result = on_windows("predict", fp32_bundle[0], "scene[1].png", *options)
    result.assert_done()
    assert json.loads(result.out)["path"] == "scene[1].png"
