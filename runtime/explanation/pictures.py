"""Pictures of answers: an image, and what speaks for its most likely classes, in a folder."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from overfly.runtime.bundle.bundle import Bundle
from overfly.runtime.classifier import Prediction
from overfly.runtime.errors import OutputError
from overfly.runtime.explanation.activation_maps import ActivationMaps
from overfly.runtime.explanation.drawing import encode, explain_image
from overfly.runtime.files.atomic import write_atomically
from overfly.runtime.files.output_guards import check_outside, check_overwrite, explain_os_errors
from overfly.runtime.images.reading import ImageReader

# Height and width of an image in a picture, whatever the size of the model's input.
_SIZE = 384
_JPEG_QUALITY = 90


@dataclass(frozen=True, slots=True)
class PictureFolder:
    """Draws pictures of answers into a folder.

    The picture of ``a/b.tif`` below the folder of all images that were given is ``a/b.tif.jpg``.
    """

    folder: Path
    base: Path
    classes: tuple[str, ...]
    maps: ActivationMaps
    reader: ImageReader
    large_reader: ImageReader

    @classmethod
    def make(cls, bundle: Bundle, folder: Path, images: Sequence[Path]) -> "PictureFolder":
        """Make the folder, and compile what the pictures need.

        Parameters
        ----------
        bundle
            The bundle that classifies.
        folder
            The folder to make. It must be missing or empty, and outside of the folders of the images.
        images
            The images and folders to classify.

        Raises
        ------
        ExplanationError
            If the network has no activation maps.
        OutputError
            If the folder holds something or can't be written, or the images are on several drives.
        BundleError
            If a file of the bundle is missing, altered or unreadable.
        """
        for path in images:
            if path.is_dir():
                check_outside(folder, path, because="whose images are classified")
        check_overwrite(folder, overwrite=True)
        if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
            raise OutputError(f"{folder} exists already: choose another folder for the pictures")
        try:
            base = os.path.commonpath([_normalized(path if path.is_dir() else path.parent) for path in images])
        except ValueError as error:
            raise OutputError(
                f"can't write to {folder}: the images are on several drives; name those of one drive"
            ) from error
        maps = ActivationMaps.of(bundle)
        with explain_os_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
        spec = bundle.manifest.image
        large = replace(spec, size=max(_SIZE, spec.size))
        return cls(folder, Path(base), bundle.manifest.classes, maps, spec.reader(), large.reader())

    def draw(self, path: Path, prediction: Prediction) -> None:
        """Draw an image, and next to it the maps of the classes in its prediction.

        Raises
        ------
        ImageError
            If the image can't be read any more.
        OutputError
            If the picture can't be written.
        """
        maps = self.maps.explain(self.reader.read(path))
        panels = [
            (f"{probability:.1%} {label}", maps[self.classes.index(label)])
            for label, probability in zip(prediction.labels, prediction.probabilities, strict=True)
        ]
        picture = explain_image(self.large_reader.read(path), panels)
        name = Path(_normalized(path)).relative_to(self.base)
        target = self.folder / name.with_name(f"{name.name}.jpg")
        with explain_os_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(target, encode(picture, "JPEG", quality=_JPEG_QUALITY))


def _normalized(path: Path) -> str:
    """Return an absolute path without ``..``; links stay, so that an image behind one is below the folder given."""
    return os.path.abspath(path)  # noqa: PTH100 - resolve() would follow links
