"""Take the pictures of a report: images that rows classify differently, and sure mistakes, with activation maps."""

import base64
from dataclasses import replace

import numpy as np
from PIL import Image

from overfly.benchmarks.results.packed import pack
from overfly.benchmarks.results.per_class import disagreements, surest_mistakes
from overfly.benchmarks.results.records import ActivationMap, Picture, Report
from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.errors import ExplanationError
from overfly.runtime.explanation.activation_maps import ActivationMaps
from overfly.runtime.explanation.drawing import encode
from overfly.runtime.images.reading import ImageBatch

# The pictures make report.html about half a megabyte larger.
_MOST_DISAGREEMENTS = 40
N_MISTAKES = 10
_THUMBNAIL_SIZE = 128
_JPEG_QUALITY = 85


def add_pictures(report: Report, pixels: ImageBatch, bundle: Bundle) -> Report:
    """Return a report with its pictures.

    Parameters
    ----------
    report
        The report.
    pixels
        The evaluated images: uint8, shape ``[N, size, size, 3]``, RGB.
    bundle
        The bundle that was measured.
    """
    shown = [*disagreements(report)[:_MOST_DISAGREEMENTS], *surest_mistakes(report, n_images=N_MISTAKES)]
    if not shown:
        return report
    try:
        maps, no_maps = ActivationMaps.of(bundle), None
    except ExplanationError as error:
        maps, no_maps = None, str(error)
    pictures = []
    for index, image in {image.index: image for image in shown}.items():
        labels = dict.fromkeys(report.classes.index(name) for name in (image.baseline, image.compared_row, image.truth))
        values = {} if maps is None else {label: maps.explain(pixels[index])[label] for label in labels}
        of_classes = tuple(ActivationMap(label, tuple(map(pack, rows))) for label, rows in values.items())
        pictures.append(Picture(index, _thumbnail(pixels[index]), of_classes))
    return replace(report, pictures=tuple(pictures), no_maps=no_maps)


def _thumbnail(pixels: ImageBatch) -> str:
    """Return an image, made smaller if it is larger than a thumbnail, as JPEG in base64."""
    image = Image.fromarray(np.ascontiguousarray(pixels))
    image.thumbnail((_THUMBNAIL_SIZE, _THUMBNAIL_SIZE), Image.Resampling.BILINEAR)
    return base64.b64encode(encode(image, "JPEG", quality=_JPEG_QUALITY)).decode()
