"""What a map looks like, pixel by pixel."""

import io

import numpy as np
from PIL import Image

from overfly.runtime.explanation.drawing import colors, encode, explain_image, largest

ORANGE, BLUE = (255, 96, 0), (0, 96, 255)


def test_what_adds_is_orange_and_what_takes_is_blue_in_one_scale():
    values = np.array([[2.0, -2.0], [0.0, 1.0]], np.float32)
    layer = np.asarray(colors(values, scale=4.0, size=2)).tolist()
    full = 255 * 0.65
    assert layer == [
        [[*ORANGE, round(full / 2)], [*BLUE, round(full / 2)]],
        [[*BLUE, 0], [*ORANGE, round(full / 4)]],
    ]
    assert largest([values, values * -3]) == 6.0
    assert np.asarray(colors(values * 9, scale=4.0, size=2))[0, 0, 3] == round(full)


def test_a_map_without_values_is_transparent():
    flat = np.zeros((3, 3), np.float32)
    layer = np.asarray(colors(flat, scale=largest([flat]), size=6))
    assert layer.shape == (6, 6, 4)
    assert not layer[..., 3].any()


def test_a_sheet_has_the_image_and_a_panel_for_each_map():
    image = np.full((96, 96, 3), 100, np.uint8)
    one = np.full((2, 2), 1.0, np.float32)
    sheet = np.asarray(explain_image(image, [("90.0% harbor", one), ("5.0% " + "long name " * 9, one * -0.5)]))
    assert sheet.shape == (96 + 36, 3 * 96 + 2 * 8, 3)
    assert (sheet[:96, :96] == 100).all()
    for number, (color, opacity) in enumerate([(ORANGE, 0.65), (BLUE, 0.325)], start=1):
        panel = sheet[:96, number * 104 : number * 104 + 96]
        expected = [100 + (channel - 100) * opacity for channel in color]
        assert np.abs(panel.astype(float) - expected).max() <= 2
    # Captions below the panels, none below the image; the long one ends within its panel.
    below = (sheet[96:] < 128).any(axis=(0, 2))
    assert not below[:104].any()
    assert below[104:200].any()
    assert below[208:304].any()
    gap = below[200:208]
    assert not gap.any()


def test_a_picture_is_a_file_of_its_kind():
    content = encode(Image.new("RGB", (4, 3), "red"), "JPEG", quality=90)
    assert Image.open(io.BytesIO(content)).size == (4, 3)
    assert content == encode(Image.new("RGB", (4, 3), "red"), "JPEG", quality=90)
