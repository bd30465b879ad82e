"""The pictures of a report: which images, their thumbnails and maps, and how large the page becomes."""

import base64
import io
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from overfly.benchmarks.measurement import pictures
from overfly.benchmarks.measurement.pictures import add_pictures
from overfly.benchmarks.rendering.html import report_html
from overfly.benchmarks.results.packed import unpack_rows
from overfly.runtime.errors import ExplanationError


class Maps:
    """Maps of 2 x 2 parts whose values are the class and the brightness of the image."""

    def explain(self, image):
        assert image.dtype == np.uint8
        values = np.arange(3)[:, np.newaxis, np.newaxis] + image.mean() / 1000
        return np.broadcast_to(values, (3, 2, 2)).astype(np.float32)


@pytest.fixture
def pixels():
    """Sixty images of 200 x 200 noisy pixels, each brighter than the one before."""
    noise = np.random.default_rng(0).integers(0, 60, (60, 200, 200, 3), dtype=np.uint8)
    return noise + np.arange(60, dtype=np.uint8)[:, np.newaxis, np.newaxis, np.newaxis] * 3


def test_disagreements_and_mistakes_are_pictured_with_the_maps_of_their_classes(report, pixels, monkeypatch):
    monkeypatch.setattr(pictures.ActivationMaps, "of", lambda _bundle: Maps())
    found = add_pictures(report, pixels, None)
    assert found.no_maps is None
    # The four that int8 alone has wrong; then image 4, which both have wrong.
    assert [picture.image for picture in found.pictures] == [7, 10, 11, 13, 4]
    # The baseline takes 7 for what it is, a forest (1), and int8 for tanks (2).
    assert [[of.label for of in picture.maps] for picture in found.pictures] == [[1, 2], [1, 2], [2, 0], [1, 0], [0, 1]]
    for picture in found.pictures:
        for of in picture.maps:
            expected = of.label + pixels[picture.image].mean() / 1000
            assert unpack_rows(of.rows) == pytest.approx(np.full((2, 2), expected), rel=1e-6)
        with Image.open(io.BytesIO(base64.b64decode(picture.jpeg))) as thumbnail:
            assert (thumbnail.format, thumbnail.size) == ("JPEG", (128, 128))
            assert np.asarray(thumbnail).mean() == pytest.approx(pixels[picture.image].mean(), abs=2)


def test_a_network_without_maps_gives_pictures_and_the_reason(report, pixels, monkeypatch):
    def no_maps(_bundle):
        raise ExplanationError("vgg16 has none")

    monkeypatch.setattr(pictures.ActivationMaps, "of", no_maps)
    found = add_pictures(report, pixels, None)
    assert found.no_maps == "vgg16 has none"
    assert len(found.pictures) == 5
    assert all(picture.maps == () for picture in found.pictures)


def test_without_an_image_to_show_nothing_is_computed(report, pixels):
    assert add_pictures(replace(report, baseline=None), pixels, None) == replace(report, baseline=None)


def test_the_page_stays_below_3_mb_if_most_images_are_classified_differently(report, pixels, monkeypatch):
    monkeypatch.setattr(pictures.ActivationMaps, "of", lambda _bundle: Maps())
    row = report.rows[4]
    wrong = tuple((p + 1) % 3 for p in report.rows[0].measurements.predictions)
    worse = replace(
        report, rows=(*report.rows[:4], replace(row, measurements=replace(row.measurements, predictions=wrong)))
    )
    found = add_pictures(worse, pixels, None)
    assert 40 <= len(found.pictures) <= 50
    # Noise is what JPEG compresses worst.
    assert len(report_html(found)) < 3_000_000
