"""Every error that overfly raises on purpose.

OverflyError
├── DataError (ValueError)            a labelled folder or a split that can't be used
│   └── ImageError                    one picture that can't be read
├── DocumentError (ValueError)        a JSON file of ours with an unknown schema, key or type
│   ├── RunError                      a run with a file missing, altered or unreadable
│   └── BundleError                   a bundle with a file missing, altered or unreadable
├── ComparisonError (ValueError)      reports that can't stand side by side
├── RecipeError (ValueError)          a value that a recipe can't have; its `field` is the field's name
├── WeightsError (ValueError)         pretrained weights that can't be had or don't fit
├── DownloadError (OSError)            a public data set that can't be downloaded, or is another file
├── DeviceError (RuntimeError)        a device that is unknown, absent or can't run the model
├── TeamError (RuntimeError)          processes that train together and lost one another
├── ParityError (RuntimeError)        an export step whose answers differ from the step before
├── OutputError (OSError)             an output that exists, or can't be written
└── MissingExtraError (ImportError)   an optional dependency that isn't installed

A message says what, what was found, what was expected, and the remedy. The command line maps the
root to exit code 1; the library never exits.
"""


class OverflyError(Exception):
    """The root: something overfly foresaw and can explain in a sentence."""


class DataError(OverflyError, ValueError):
    """A labelled folder or a split that can't be used."""


class ImageError(DataError):
    """One picture that can't be read."""


class DocumentError(OverflyError, ValueError):
    """A JSON file of ours with an unknown schema, key or type."""


class RunError(DocumentError):
    """A run with a file missing, altered or unreadable."""


class BundleError(DocumentError):
    """A bundle with a file missing, altered or unreadable."""


class ComparisonError(OverflyError, ValueError):
    """Reports that can't stand side by side."""


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
    """Pretrained weights that can't be had or don't fit the model."""


class DownloadError(OverflyError, OSError):
    """A public data set that can't be downloaded, or is another file."""


class DeviceError(OverflyError, RuntimeError):
    """A device that is unknown, absent or can't run the model."""


class TeamError(OverflyError, RuntimeError):
    """Processes that train together and lost one another, or were given different trainings."""


class ParityError(OverflyError, RuntimeError):
    """An export step whose answers differ from those of the step before."""


class OutputError(OverflyError, OSError):
    """An output that exists already, or can't be written."""


class MissingExtraError(OverflyError, ImportError):
    """An optional dependency that isn't installed."""
