"""What a worker may open: files below some folders."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

from overfly.runtime.errors import RasterError

# As much of a file as GDAL looks at to recognize a VRT, and what it looks for.
_HEAD_BYTES = 1024
_VRT = b"<VRTDataset"


@dataclass(frozen=True, slots=True)
class Roots:
    """Folders that a worker may read.

    Attributes
    ----------
    folders
        Their real paths, without links.
    """

    folders: tuple[Path, ...]

    @classmethod
    def of(cls, folders: Iterable[Path]) -> "Roots":
        """Return the roots for some folders; links are followed now."""
        return cls(tuple(folder.resolve() for folder in folders))

    def check(self, path: Path) -> Path:
        """Return the real path of a file or folder.

        Raises
        ------
        RasterError
            If it does not exist, or is outside of all folders, also by a link.
        """
        try:
            real = path.resolve(strict=True)
        except (OSError, RuntimeError):  # a circle of links is a RuntimeError before Python 3.13
            raise RasterError(f"{path} does not exist here: mount the folder that holds it") from None
        if not any(real == folder or folder in real.parents for folder in self.folders):
            others = f", which is {real}," if real != path else ""
            allowed = " and ".join(map(str, self.folders))
            raise RasterError(f"{path}{others} is outside of {allowed}: start the worker with a --root that holds it")
        return real

    def check_raster(self, path: Path) -> Path:
        """Return the real path of a raster, after a check of all files that a VRT refers to.

        Raises
        ------
        RasterError
            As `check`, for the raster or a file that it refers to.
        """
        real, pending, seen = self.check(path), [path], set()
        while pending:
            file = self.check(pending.pop())
            if file in seen or not file.is_file():
                continue
            seen.add(file)
            pending += _references(file)
        return real


def _references(path: Path) -> list[Path]:
    """Return the files that a VRT refers to; nothing for a file that holds its pixels itself."""
    with path.open("rb") as stream:
        content = stream.read(_HEAD_BYTES)
        if _VRT not in content:
            if content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"<", b"{")):
                raise RasterError(
                    f"{path} is a text that may refer to other files or to the network: write a VRT instead"
                )
            return []
        content += stream.read()
    try:
        nodes = ET.fromstring(content).iter()  # noqa: S314 - expat limits how far entities grow
    except ET.ParseError as error:
        raise RasterError(f"{path} is no valid VRT ({error}): write it again") from error
    # A URL, or a name with the prefix of a driver, is the path of no file, and so it is refused.
    return [
        (path.parent if node.get("relativeToVRT") == "1" else Path()) / (node.text or "").strip()
        for node in nodes
        if node.tag in {"SourceFilename", "SourceDataset"}
    ]
