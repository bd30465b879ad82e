"""Every error that overfly raises for its users.

OverflyError
├── DataError (ValueError)            a labeled folder, an image or a split can't be used
│   ├── ImageError                    an image can't be read
│   │   └── DecodingError             why its content can't be decoded, as `ImageReader` continues its sentence
│   ├── RasterError                   a raster, or vector data that belongs to it, can't be used
│   └── SplitError (DocumentError)    a split file can't be read, or does not fit the data folder
├── DocumentError (ValueError)        a JSON file of overfly has an unknown schema or key, or a wrong type
│   ├── RunError                      a file of a run is missing, altered or unreadable
│   └── BundleError                   a file of a bundle is missing, altered or unreadable
├── ComparisonError (ValueError)      reports or bundles can't be compared
├── RecipeError (ValueError)          a field of a recipe can't have the given value; `field` names it
├── WeightsError (ValueError)         pretrained weights can't be read, or don't fit the model
├── DownloadError (OSError)           a public data set can't be downloaded, or the file is another one
├── ExplanationError (ValueError)     a network or a bundle has no class activation maps
├── DeviceError (RuntimeError)        a device is unknown or absent, or can't run the model
├── TeamError (RuntimeError)          processes that train together lost the connection, or differ in their jobs
├── ClusterError (RuntimeError)       the workers of a cluster can't be reached, or none of them can do the work
│   └── RefusedRasterError            no worker can read a raster that the client can; others may go on
├── ParityError (RuntimeError)        an export step changed the model's answers too much
├── OutputError (OSError)             an output exists already, or can't be written
└── MissingExtraError (ImportError)   an optional package is not installed

Each class also inherits the class in brackets. A message says what failed, what was found, what was expected, and
what to do. The command line exits with code 1 for any of them; the library never exits.
"""


class OverflyError(Exception):
    """The base class: an error that overfly expects and explains in one sentence."""


class DataError(OverflyError, ValueError):
    """A labeled folder, an image or a split can't be used."""


class ImageError(DataError):
    """An image can't be read."""


class DecodingError(ImageError):
    """Why the content of an image can't be decoded: `ImageReader` makes it a sentence with the path."""


class RasterError(DataError):
    """A raster, or vector data that belongs to it, can't be read or lacks something that is needed."""


class DocumentError(OverflyError, ValueError):
    """A JSON file of overfly has an unknown schema or key, or a value of the wrong type."""


class SplitError(DataError, DocumentError):
    """A split file can't be read, or does not fit the data folder."""


class RunError(DocumentError):
    """A file of a run is missing, altered or unreadable."""


class BundleError(DocumentError):
    """A file of a bundle is missing, altered or unreadable."""


class ComparisonError(OverflyError, ValueError):
    """Reports or bundles can't be compared."""


class RecipeError(OverflyError, ValueError):
    """A value that a field of a recipe can't have.

    Parameters
    ----------
    field
        Name of the field; also an attribute.
    found, expected
        The value, and the valid values in words.
    """

    def __init__(self, field: str, found: object, expected: str) -> None:
        super().__init__(field, found, expected)
        self.field = field

    def __str__(self) -> str:
        """Return the sentence."""
        field, found, expected = self.args
        return f"{field} is {found}, expected {expected}"


class WeightsError(OverflyError, ValueError):
    """Pretrained weights can't be read, or don't fit the model."""


class DownloadError(OverflyError, OSError):
    """A public data set can't be downloaded, or the downloaded file is not the expected one."""


class ExplanationError(OverflyError, ValueError):
    """A network or a bundle has no class activation maps."""


class DeviceError(OverflyError, RuntimeError):
    """A device is unknown or absent, or can't run the model."""


class TeamError(OverflyError, RuntimeError):
    """Processes that train together lost the connection, have different jobs, or can't divide the shares of a batch."""


class ClusterError(OverflyError, RuntimeError):
    """The scheduler or the workers of a cluster can't be reached, are not protected, or can't do the work."""


class RefusedRasterError(ClusterError):
    """No worker can read a raster as the client can; what is finished of its map is kept."""


class ParityError(OverflyError, RuntimeError):
    """An export step changed the model's answers too much."""


class OutputError(OverflyError, OSError):
    """An output exists already, or can't be written."""


class MissingExtraError(OverflyError, ImportError):
    """An optional package is not installed."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text: PyTorch and ONNX Runtime put a trace below it."""
    return _lines(error)[0]


def first_sentence(error: BaseException) -> str:
    """Return the first sentence of an error's text: PyTorch continues with advice in the same line."""
    return first_line(error).partition(". ")[0]


def last_line(error: BaseException) -> str:
    """Return the last line of an error's text: OpenVINO puts the places in its source above it."""
    return _lines(error)[-1]


def _lines(error: BaseException) -> list[str]:
    """Return the lines of an error's text that are not empty; the name of its class if it has none."""
    return [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
