"""The pictures of a report as data URIs: thumbnails, and the layers of their activation maps."""

import base64
from dataclasses import dataclass

from overfly.benchmarks.results.packed import unpack_rows
from overfly.benchmarks.results.records import Picture, Report
from overfly.runtime.explanation.drawing import colors, encode, largest

# The browser interpolates from here on.
_LAYER_SIZE = 32


@dataclass(frozen=True, slots=True)
class Layer:
    """The map of a class, to put over the thumbnail."""

    name: str
    png: str


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """An image, and the maps of some classes, all in one scale."""

    jpeg: str
    layers: tuple[Layer, ...]


def thumbnails(report: Report) -> dict[int, Thumbnail]:
    """Return the pictures of a report by the index of the image."""
    return {picture.image: _thumbnail(report, picture) for picture in report.pictures}


def _thumbnail(report: Report, picture: Picture) -> Thumbnail:
    """Return one picture."""
    maps = {report.classes[of.label]: unpack_rows(of.rows) for of in picture.maps}
    scale = largest(list(maps.values()))
    layers = {name: encode(colors(values, scale=scale, size=_LAYER_SIZE), "PNG") for name, values in maps.items()}
    return Thumbnail(
        f"data:image/jpeg;base64,{picture.jpeg}",
        tuple(Layer(name, f"data:image/png;base64,{base64.b64encode(png).decode()}") for name, png in layers.items()),
    )
