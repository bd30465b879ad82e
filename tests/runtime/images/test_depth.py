"""Values of more or fewer bits become 8 bits, by their highest bits or by a range. A range not used is reported."""

import logging
from pathlib import Path

import numpy as np
import pytest

from overfly.runtime.errors import ImageError
from overfly.runtime.images.depth import DepthConverter, check_range

PATH = Path("survey/a.tif")


@pytest.mark.parametrize(
    ("n_bits", "values", "expected"),
    [
        (1, [0, 1], [0, 255]),
        (4, [0, 1, 15], [0, 17, 255]),
        (7, [0, 64, 127], [0, 128, 255]),
        (8, [0, 77, 255], [0, 77, 255]),
        (12, [0, 15, 16, 4095], [0, 0, 1, 255]),
        (16, [0, 255, 256, 65535], [0, 0, 1, 255]),
        (32, [0, 255, 256, 65535], [0, 0, 1, 255]),
    ],
)
def test_fewer_bits_are_stretched_and_of_more_the_highest_8_are_kept(n_bits, values, expected):
    dtype = np.uint8 if n_bits <= 8 else np.uint16 if n_bits <= 16 else np.int32
    converted = DepthConverter(None).to_8_bits(PATH, np.array(values, dtype), n_bits)
    assert converted.dtype == np.uint8
    assert converted.tolist() == expected


@pytest.mark.parametrize("dtype", [np.uint16, ">u2", np.int16, np.int32, np.float32])
def test_a_range_becomes_0_to_255_and_the_rest_is_cut_off(dtype):
    values = np.array([0, 100, 1100, 2100, 5000], dtype)
    assert DepthConverter((100, 2100)).to_8_bits(PATH, values, 16).tolist() == [0, 0, 128, 255, 255]


def test_a_range_does_not_touch_8_bits():
    values = np.arange(256, dtype=np.uint8)
    assert (DepthConverter((0, 100)).to_8_bits(PATH, values, 8) == values).all()


def test_not_a_number_becomes_0():
    values = np.array([np.nan, 0.5, np.inf, -np.inf, np.finfo(np.float32).min], np.float32)
    assert DepthConverter((0, 1)).to_8_bits(PATH, values, 32).tolist() == [0, 128, 255, 0, 0]


def test_values_outside_16_bits_are_named():
    with pytest.raises(ImageError) as caught:
        DepthConverter(None).to_8_bits(PATH, np.array([-5, 70000]), 32)
    assert {str(PATH), "-5", "70000"} <= set(str(caught.value).replace(",", "").split())


@pytest.mark.parametrize(
    ("n_bits", "low", "high", "warned"),
    [
        (16, 0, 4095, True),
        (16, 0, 10000, True),
        (16, 30000, 34000, True),
        (16, 0, 16383, True),
        (16, 0, 16384, False),
        (16, 0, 65535, False),
        (12, 0, 4095, False),
        (12, 0, 1000, True),
        (16, 0, 0, False),
        (16, 700, 700, False),
    ],
)
def test_a_small_part_of_the_bits_gives_a_warning_with_the_range(caplog, n_bits, low, high, warned):
    values = np.array([low, high], np.uint16)
    with caplog.at_level(logging.WARNING, logger="overfly"):
        DepthConverter(None).to_8_bits(PATH, values, n_bits)
        DepthConverter((low, high + 1)).to_8_bits(PATH, values, n_bits)
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == warned
    assert all(message.startswith(f"{PATH} ") and f"--range {low},{high}," in message for message in messages)


@pytest.mark.parametrize(("odd", "warned"), [(17_000, 1), (65_535, 1), (3000, 1)])
def test_a_few_bright_pixels_do_not_hide_a_dark_image(caplog, odd, warned):
    values = np.tile(np.linspace(100, 3000, 64).astype(np.uint16), (64, 1))
    values[0, :8] = odd
    with caplog.at_level(logging.WARNING, logger="overfly"):
        DepthConverter(None).to_8_bits(PATH, values, 16)
        DepthConverter(None).to_8_bits(PATH, values * 16, 16)  # a bright one gives none
    assert len(caplog.records) == warned


def test_the_warning_comes_once_for_a_folder_and_for_the_folders_of_its_classes(caplog):
    converter = DepthConverter(None)
    values = np.array([0, 3000], np.uint16)
    names = ["data/harbor/a.tif", "data/harbor/b.tif", "data/runway/c.tif", "elsewhere/one/d.tif"]
    with caplog.at_level(logging.WARNING, logger="overfly"):
        for name in names:
            converter.to_8_bits(Path(name), values, 16)
    assert [record.args[0] for record in caplog.records] == [Path(names[0]), Path(names[3])]


@pytest.mark.parametrize(
    ("folders", "first_images"),
    [
        (["survey/one", "survey/two"], ["survey/one/harbor/a.tif", "survey/two/harbor/a.tif"]),
        (["survey"], ["survey/one/harbor/a.tif"]),
        (["survey", "survey/two"], ["survey/one/harbor/a.tif"]),
    ],
)
def test_the_warning_comes_once_for_each_folder_that_a_person_named(caplog, folders, first_images):
    reader = DepthConverter(None)
    reader.folders = tuple(map(Path, folders))
    with caplog.at_level(logging.WARNING, logger="overfly"):
        for survey in ("one", "two"):
            for name in ("harbor/a.tif", "harbor/old/b.tif", "runway/c.tif"):
                reader.to_8_bits(Path("survey", survey, name), np.array([0, 3000], np.uint16), 16)
    assert [record.args[0] for record in caplog.records] == list(map(Path, first_images))


def test_many_folders_do_not_give_many_warnings(caplog):
    converter = DepthConverter(None)
    folders = [Path("data", f"class{i:02d}") for i in range(21)]
    converter.folders = tuple(folders)
    with caplog.at_level(logging.WARNING, logger="overfly"):
        for folder in folders:
            converter.to_8_bits(folder / "a.tif", np.array([0, 3000], np.uint16), 16)
    assert [record.args[0] for record in caplog.records[:3]] == [folder / "a.tif" for folder in folders[:3]]
    assert caplog.messages[3:] == [f"{folders[3].absolute()} and maybe more folders have such images, too"]


@pytest.mark.parametrize(
    ("values", "dtype", "value_range", "warned"),
    [
        (np.linspace(0, 65534, 1000), np.uint16, (0, 4080), True),
        (np.linspace(0, 4795, 1000), np.uint16, (0, 4080), False),  # 15% are above
        (np.linspace(0, 4805, 1000), np.uint16, (0, 4080), True),
        (np.linspace(0, 4000, 1000), np.uint16, (0, 4080), False),
        (np.linspace(0, 4000, 1000), np.uint16, (10_000, 20_000), True),
        (np.linspace(0, 10_000, 1000), np.uint16, (10_000, 20_000), True),
        (np.linspace(0, 20_000, 1000), np.uint16, (10_000, 20_000), False),
        (np.linspace(0, 4095, 1000), np.uint16, (0, 65535), True),  # 12 bits
        (np.linspace(0, 255, 1000), np.uint16, (0, 10_000), True),
        (np.linspace(0, 6600, 1000), np.uint16, (0, 65535), True),  # 99% are below a tenth
        (np.linspace(0, 6640, 1000), np.uint16, (0, 65535), False),
        ([700] * 500, np.uint16, (0, 65535), False),
        ([700] * 500, np.uint16, (1000, 65535), True),
        ([100] * 500 + [65535] * 500, np.uint16, (0, 4080), False),  # no data
        ([65535] * 500, np.uint16, (0, 4080), False),
        ([0.5, np.nan, np.inf, np.finfo(np.float32).max], np.float32, (0, 1), False),
        ([0.5, 7.0, np.nan], np.float32, (0, 1), True),
        ([-9999, 50], np.int16, (0, 100), False),
        ([0, 255], np.uint8, (0, 100), False),
    ],
)
def test_an_image_far_outside_the_range_gives_a_warning(caplog, values, dtype, value_range, warned):
    n_bits = 8 * np.dtype(dtype).itemsize
    with caplog.at_level(logging.WARNING, logger="overfly"):
        for _ in range(2):
            DepthConverter(value_range).to_8_bits(PATH, np.array([values], dtype), n_bits)
    assert len(caplog.records) == 2 * warned


def test_a_highlight_gives_no_warning(caplog):
    values = np.full((64, 64), 2000, np.uint16)
    values[:8] = 60_000
    with caplog.at_level(logging.WARNING, logger="overfly"):
        DepthConverter((0, 4080)).to_8_bits(PATH, values, 16)
    assert caplog.records == []


@pytest.mark.parametrize(
    ("value_range", "problem"),
    [
        ((0, 4080), "75% of them above the range 0,4080, so much of it becomes white"),
        (
            (50_000, 60_000),
            "nearly all of them near the lower end of the range 50000,60000, so much of it becomes black",
        ),
    ],
)
def test_the_message_of_an_image_outside_the_range_comes_once_for_a_folder(caplog, value_range, problem):
    converter = DepthConverter(value_range)
    values = np.array([100, 5000, 20_000, 30_000], np.uint16)
    with caplog.at_level(logging.WARNING, logger="overfly"):
        for name in ("a", "b"):
            converter.to_8_bits(PATH.with_stem(name), values, 16)
    (message,) = caplog.messages
    assert message == (
        f"{PATH} has values from 100 to 30000, {problem}: use images like those that the model is trained on, or a "
        "range that suits all of them"
    )


@pytest.mark.parametrize("ends", [(1, 1), (2, 1), (float("nan"), 1), (0, float("inf"))])
def test_what_is_no_range_is_named(ends):
    with pytest.raises(ValueError, match=f"{ends[0]},{ends[1]}"):
        check_range(*ends)


def test_the_message_of_the_warning(caplog):
    with caplog.at_level(logging.WARNING, logger="overfly"):
        DepthConverter(None).to_8_bits(PATH, np.array([7, 4095], np.uint16), 16)
    (record,) = caplog.records
    assert record.getMessage() == (
        f"{PATH} has nearly all values in the range 7,4095, a small part of its 16 bits, so its contrast is low: "
        "train with --range 7,4095, or with the range of all images"
    )


@pytest.mark.parametrize(
    ("low", "high", "value_range", "needed"),
    [
        (0, 65_535, None, False),
        (100, 3000, None, True),
        (100, 3000, (0, 4095), True),
        (0, 65_535, (0, 4095), True),
        (30_000, 40_000, None, True),
        (20_000, 60_000, None, False),
    ],
)
def test_the_low_bytes_are_needed_for_a_range_or_a_warning_only(low, high, value_range, needed):
    values = np.linspace(low, high, 4096).astype(np.uint16).reshape(64, 64)
    assert DepthConverter(value_range).needs_low_bytes((values >> 8).astype(np.uint8)) is needed
