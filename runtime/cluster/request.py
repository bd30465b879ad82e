"""What travels between the client and the workers of a cluster: text, numbers and bytes, and no code."""

import functools
from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import rasterio

from overfly.runtime.documents import dump_document, parse_document
from overfly.runtime.errors import ClusterError, DocumentError
from overfly.runtime.mapping.grid import WindowGrid
from overfly.runtime.mapping.record import MachineRecord, MapOptions

MODEL_SCHEMA = "overfly.model_request/1"
RASTER_SCHEMA = "overfly.raster_request/1"

# The packages, next to overfly, that decide the numbers of a map.
_PACKAGES = ("openvino", "pillow", "numpy", "rasterio")


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelRequest:
    """The model that is to classify.

    Attributes
    ----------
    bundle, bundle_sha256
        Path of the bundle, and the SHA-256 of its manifest.
    variant, device, execution_precision, cache, properties
        See `overfly.runtime.inference.compile.compile_variant`.
    golden_sha256
        Of the logits that the client computes of the golden images.
    packages
        Versions of the packages that decide the numbers of a map.
    allow_mixed
        Whether a worker that computes otherwise than the client may classify as well.
    """

    bundle: str
    bundle_sha256: str
    variant: str
    device: str
    execution_precision: str
    cache: bool
    properties: dict[str, str]
    golden_sha256: str
    packages: dict[str, str]
    allow_mixed: bool

    def to_text(self) -> str:
        """Return it as JSON."""
        return dump_document(self, schema=MODEL_SCHEMA)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRequest:
    """A file that decides what is read of a raster: its path, and its state as a text."""

    path: str
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterRequest:
    """A raster and how it is cut into blocks; see `overfly.runtime.mapping.engine.MapWork`."""

    path: str
    sha256: str
    files: tuple[FileRequest, ...]
    options: MapOptions
    grid: WindowGrid
    cell_pixels: int

    def to_text(self) -> str:
        """Return it as JSON."""
        return dump_document(self, schema=RASTER_SCHEMA)


@functools.lru_cache(maxsize=16)
def parse_model(text: str) -> ModelRequest:
    """Return the request that a text was made from.

    Raises
    ------
    ClusterError
        If it is something else.
    """
    try:
        return parse_document(text, Path("the request"), ModelRequest, schema=MODEL_SCHEMA)
    except DocumentError as error:
        raise ClusterError(f"it can't understand the client: {error}") from error


@functools.lru_cache(maxsize=16)
def parse_raster(text: str) -> RasterRequest:
    """Return the request that a text was made from; the error is that of `parse_model`."""
    try:
        return parse_document(text, Path("the request"), RasterRequest, schema=RASTER_SCHEMA)
    except DocumentError as error:
        raise ClusterError(f"it can't understand the client: {error}") from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a worker answers for a block; one of `data`, `unreadable` and `refused` is set.

    Attributes
    ----------
    worker, address
        Its name and its address.
    data
        The result, as `overfly.runtime.mapping.classification.BlockResult.to_bytes` gives it.
    machine
        A `MachineRecord` as a dict, if the worker computes otherwise than the client.
    unreadable
        Why it can't read the part of the raster.
    refused, scope
        Why it can't do the work as the client would, and whether this holds for the ``raster`` or for the ``model``.
    """

    worker: str = ""
    address: str = ""
    data: bytes | None = None
    machine: dict[str, Any] | None = None
    unreadable: str | None = None
    refused: str | None = None
    scope: Literal["raster", "model"] = "model"

    def machine_record(self) -> MachineRecord | None:
        """Return the machine, if it computes otherwise than the client."""
        return None if self.machine is None else MachineRecord(**self.machine)


def parse_answer(content: Mapping[str, Any]) -> Answer:
    """Return an answer that travelled as a dict; a worker with another version may say more."""
    return Answer(**{field.name: content[field.name] for field in fields(Answer) if field.name in content})


@functools.cache
def package_versions() -> dict[str, str]:
    """Return the versions of the packages that decide the numbers of a map, and of the GDAL that rasterio has."""
    return {name: version(name) for name in _PACKAGES} | {"gdal": rasterio.__gdal_version__}


@functools.cache
def overfly_version() -> str:
    """Return the version of overfly."""
    return version("overfly")
