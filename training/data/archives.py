"""The public data sets that ``overfly fetch`` knows. Free of heavy imports, because the command's help lists them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """A zip file, identified by its hash wherever it is downloaded from.

    Attributes
    ----------
    url
        Where it is published; http or https.
    sha256, size_bytes
        Hash and size of the file.
    images
        The folder inside it that has one folder per class.
    summary
        What it contains, for the command's help.
    """

    url: str
    sha256: str
    size_bytes: int
    images: str
    summary: str


ARCHIVES = {
    # Yang and Newsam, "Bag-of-visual-words and spatial extensions for land-use classification", ACM GIS 2010.
    "ucmerced": Archive(
        url="http://weegee.vision.ucmerced.edu/datasets/UCMerced_LandUse.zip",
        sha256="06c539ef28703a58fb07bd2837991ac7c48b813b00bb12ac197efd813a18daeb",
        size_bytes=332_468_434,
        images="UCMerced_LandUse/Images",
        summary="21 land-use classes of 100 aerial images, 317 MiB",
    ),
}
