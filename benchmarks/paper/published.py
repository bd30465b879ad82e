"""The figures that the paper publishes, and the records of ours beside them."""

from dataclasses import dataclass

OK = "ok"
NOT_YET = "not trained yet"


@dataclass(frozen=True, slots=True)
class PaperRow:
    """A row of the paper: what it says of a model.

    Attributes
    ----------
    accuracy, f1_macro, kappa
        In percent, as printed.
    params, flops
        As printed, with their unit.
    """

    name: str
    model: str
    pretrained: bool
    accuracy: float
    f1_macro: float
    kappa: float
    params: str
    flops: str


PAPER_ROWS = (
    PaperRow("mobilenet_v2-scratch", "mobilenet_v2", False, 25.71, 23.24, 22.00, "2.2508M", "426.0928M"),
    PaperRow("mobilenet_v2", "mobilenet_v2", True, 91.43, 91.50, 91.00, "2.2508M", "426.0928M"),
    PaperRow("resnet18", "resnet18", True, 89.52, 89.71, 89.00, "11.1873M", "2.3818G"),
    PaperRow("shufflenet_v2_x1_0", "shufflenet_v2_x1_0", True, 71.19, 69.31, 69.75, "1.2751M", "198.1404M"),
    PaperRow("vgg16", "vgg16", True, 88.10, 88.19, 87.50, "134.3466M", "20.1643G"),
    PaperRow("alexnet", "alexnet", True, 81.19, 81.21, 80.25, "57.0899M", "923.1359M"),
)


@dataclass(frozen=True, slots=True)
class OurRow:
    """What came of training a row's model; percent like the paper's, None where it was not trained.

    Attributes
    ----------
    status
        ``ok``, ``not trained yet``, or why the row could not be trained.
    seconds
        Wall clock of all epochs.
    machine, versions
        What it was trained on, and with.
    """

    name: str
    status: str
    accuracy: float | None
    f1_macro: float | None
    kappa: float | None
    params: str
    flops: str
    seconds: float | None
    machine: str | None
    versions: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class PaperTable:
    """The content of ``paper.json``: the epochs and the seed of all rows, and the rows."""

    epochs: int
    image_size: int
    seed: int
    rows: tuple[OurRow, ...]
