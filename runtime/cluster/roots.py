"""What a worker may open: files below some folders."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from overfly.runtime.cluster.references import files_beside, referenced_files
from overfly.runtime.errors import RasterError


@dataclass(frozen=True, slots=True)
class Roots:
    """Folders that a worker may read.

    Attributes
    ----------
    folders
        Their real paths, without links; None if it may read what its user may.
    """

    folders: tuple[Path, ...] | None

    @classmethod
    def of(cls, folders: Iterable[Path] | None) -> "Roots":
        """Return the roots for some folders; links are followed now."""
        return cls(None if folders is None else tuple(folder.resolve() for folder in folders))

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
        if self.folders is not None and not any(real == folder or folder in real.parents for folder in self.folders):
            others = f", which is {real}," if real != path else ""
            allowed = " and ".join(map(str, self.folders))
            raise RasterError(f"{path}{others} is outside of {allowed}: start the worker with a --root that holds it")
        return real

    def check_raster(self, path: Path) -> Path:
        """Return the real path of a raster, after a check of all files that GDAL opens with it.

        Raises
        ------
        RasterError
            As `check`, for the raster or a file that it refers to; or if it may refer to files in an unknown way.
        OSError
            If a file can't be read.
        """
        real = self.check(path)
        if self.folders is None:
            return real
        pending, seen = [path], set()
        folders: dict[Path, dict[str, list[Path]]] = {}
        while pending:
            file = pending.pop()
            if file in seen:
                continue
            seen.add(file)
            if (target := self.check(file)) != file:
                pending.append(target)
            elif file.is_file():
                pending += referenced_files(file)
            folder = file.parent
            if folder not in folders:
                folders[folder] = files_beside(folder)
            pending += folders[folder].get(file.name.lower(), [])
        return real
