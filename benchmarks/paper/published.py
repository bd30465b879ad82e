"""The figures that the paper publishes."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PublishedRow:
    """A row of the paper's Tables 1 and 2.

    Attributes
    ----------
    name
        Our name for the row.
    model
        The model, by its name in overfly.
    pretrained
        Whether training starts from ImageNet weights.
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


PUBLISHED_ROWS = (
    PublishedRow("mobilenet_v2-scratch", "mobilenet_v2", False, 25.71, 23.24, 22.00, "2.2508M", "426.0928M"),
    PublishedRow("mobilenet_v2", "mobilenet_v2", True, 91.43, 91.50, 91.00, "2.2508M", "426.0928M"),
    PublishedRow("resnet18", "resnet18", True, 89.52, 89.71, 89.00, "11.1873M", "2.3818G"),
    PublishedRow("shufflenet_v2_x1_0", "shufflenet_v2_x1_0", True, 71.19, 69.31, 69.75, "1.2751M", "198.1404M"),
    PublishedRow("vgg16", "vgg16", True, 88.10, 88.19, 87.50, "134.3466M", "20.1643G"),
    PublishedRow("alexnet", "alexnet", True, 81.19, 81.21, 80.25, "57.0899M", "923.1359M"),
)
