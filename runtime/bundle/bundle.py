"""The bundle: the folder or .zip that is deployed to a device. Every file is checked when it is read."""

import hashlib
import io
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from overfly.runtime.bundle.labels import UNKNOWN
from overfly.runtime.bundle.manifest import (
    GOLDEN,
    MANIFEST,
    Manifest,
    VariantRecord,
    read_manifest,
    sealed_text,
)
from overfly.runtime.bundle.storage import BundleFiles, is_system_name, open_files
from overfly.runtime.errors import BundleError
from overfly.runtime.images.reading import ImageBatch

Logits = npt.NDArray[np.float32]

_MAX_GOLDEN_BYTES = 1 << 30

_BAD_GOLDEN = (OSError, ValueError, KeyError, EOFError, TypeError, MemoryError, zipfile.BadZipFile, zlib.error)


@dataclass(frozen=True, slots=True)
class ReferenceSet:
    """Decoded images and their signed-off logits.

    Attributes
    ----------
    images
        uint8, shape ``[N, size, size, 3]``, RGB.
    logits
        float32, shape ``[N, n_classes]``, of the PyTorch fp32 model.
    """

    images: ImageBatch
    logits: Logits


@dataclass(frozen=True, slots=True)
class Bundle:
    """An opened bundle. Each of its files is checked against the manifest when it is read.

    Attributes
    ----------
    path
        The folder or the .zip.
    manifest
        The content of its ``manifest.json``.

    Examples
    --------
    >>> from pathlib import Path
    >>> from overfly.runtime import Bundle
    >>> bundle = Bundle.open(Path("bundle"))
    >>> list(bundle.manifest.variants)
    ['fp32', 'fp16', 'int8']
    """

    path: Path
    manifest: Manifest

    @classmethod
    def open(cls, path: Path) -> "Bundle":
        """Open the folder or .zip at `path` and read its manifest.

        Raises
        ------
        BundleError
            If `path` is neither a folder nor a .zip, or the manifest is missing, not valid or altered.
        """
        return cls(path, read_manifest(path, open_files(path)))

    def file_path(self, name: str) -> Path:
        """Return the path of a file for messages. In a .zip the file can't be opened by it."""
        return self.path / name

    def read(self, name: str) -> bytes:
        """Read a file and check it against the manifest.

        Raises
        ------
        BundleError
            If the file is not listed in the manifest, missing or altered.
        """
        return b"".join(self._checked(open_files(self.path), name))

    def manifest_sha256(self) -> str:
        """Return the SHA-256 of the bundle's ``manifest.json``."""
        return hashlib.sha256(sealed_text(self.manifest).encode()).hexdigest()

    def verify(self) -> list[str]:
        """Check every file against the manifest, and that there are no others.

        Returns
        -------
        list of str
            Names of files and folders that an operating system left in the bundle, such as ``.DS_Store``.

        Raises
        ------
        BundleError
            For the first file that is missing, altered or not listed.
        """
        files = open_files(self.path)
        for name in self.manifest.files:
            for _ in self._checked(files, name):
                pass
        others = [name for name in files.names() if name != MANIFEST and name not in self.manifest.files]
        for name in others:
            if not is_system_name(name):
                raise BundleError(
                    f"{self.file_path(name)} is not listed in the manifest: remove it, or copy the bundle again"
                )
        return others

    def _checked(self, files: BundleFiles, name: str) -> Iterator[bytes]:
        """Yield the content of a file; raise BundleError if it is missing, or at its end if it was altered."""
        record = self.manifest.files.get(name)
        if record is None:
            raise BundleError(f"{self.file_path(MANIFEST)} does not list {name}: export the run again")
        digest, size_bytes = hashlib.sha256(), 0
        try:
            for chunk in files.chunks(name):
                digest.update(chunk)
                size_bytes += len(chunk)
                if size_bytes > record.size_bytes:
                    break
                yield chunk
        except FileNotFoundError:
            raise BundleError(
                f"{self.file_path(name)} is missing: copy the whole bundle again, or export the run again"
            ) from None
        if size_bytes != record.size_bytes or digest.hexdigest() != record.sha256:
            raise BundleError(
                f"{self.file_path(name)} was altered: its SHA-256 is not the {record.sha256[:12]}... of the manifest; "
                "copy the bundle again, or export the run again"
            )

    def variant(self, name: str) -> VariantRecord:
        """Return the record of a variant.

        Raises
        ------
        BundleError
            If the bundle was exported without it.
        """
        try:
            return self.manifest.variants[name]
        except KeyError:
            held = ", ".join(self.manifest.variants)
            raise BundleError(
                f"{self.path} has no variant {name}: it holds {held}; export the run with --variant {name}"
            ) from None

    def calibration_warning(self) -> str | None:
        """Return a sentence that says that the probabilities are not calibrated; None if they are."""
        if self.manifest.temperature_scaling is not None:
            return None
        return (
            f"the probabilities of {self.path} are not calibrated: train with a validation part (--val-fraction 0.05, "
            "or folders train, val and test) and export the run with this version"
        )

    def check_known_score(self) -> None:
        """Check that the bundle can tell unknown images, for ``--unknown``.

        Raises
        ------
        BundleError
            If it has no known score, or a class has the name that unknown images get.
        """
        if self.manifest.known_score is None:
            raise BundleError(
                f"{self.path} has no known score, so it can't tell unknown images: train with a validation part "
                "(--val-fraction 0.05, or folders train, val and test) and export the run with this version, or leave "
                "out --unknown"
            )
        if UNKNOWN in self.manifest.classes:
            raise BundleError(
                f"{self.path} has a class {UNKNOWN}: rename its folder and train again, or leave out --unknown"
            )

    def golden(self) -> ReferenceSet:
        """Load the golden images and logits.

        Raises
        ------
        BundleError
            If the file is missing or altered, or has arrays of the wrong shape or type, or logits that are not finite.
        """
        content, path = self.read(GOLDEN), self.file_path(GOLDEN)
        try:
            _check_unpacked_size(content)
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                golden = ReferenceSet(arrays["images"], arrays["logits"])
        except _BAD_GOLDEN as error:
            raise BundleError(f"{path} holds no golden images and logits ({error}): export the run again") from error
        size, n_classes = self.manifest.image.size, len(self.manifest.classes)
        n = len(golden.images) if golden.images.ndim else 0
        found = [(array.dtype.name, array.shape) for array in (golden.images, golden.logits)]
        if not n or found != [("uint8", (n, size, size, 3)), ("float32", (n, n_classes))]:
            raise BundleError(f"{path} holds arrays of the wrong shape or type, or none: export the run again")
        if not np.isfinite(golden.logits).all():
            raise BundleError(f"{path} holds logits that are not finite numbers: export the run again")
        return golden


def _check_unpacked_size(content: bytes) -> None:
    """Raise ValueError if a .npz unpacks to more than golden images can take."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        unpacked = sum(entry.file_size for entry in archive.infolist())
    if unpacked > _MAX_GOLDEN_BYTES:
        raise ValueError(f"it unpacks to {unpacked} bytes, expected at most {_MAX_GOLDEN_BYTES}")
