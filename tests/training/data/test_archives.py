"""The public data sets are described completely."""

import re
from pathlib import PurePosixPath
from urllib.parse import urlsplit

import pytest

from overfly.training.data.archives import ARCHIVES


@pytest.mark.parametrize("archive", ARCHIVES.values(), ids=list(ARCHIVES))
def test_an_archive_can_be_downloaded_and_verified(archive):
    assert urlsplit(archive.url).scheme in {"http", "https"}
    assert re.fullmatch(r"[0-9a-f]{64}", archive.sha256)
    assert archive.size_bytes > 0
    assert not PurePosixPath(archive.images).is_absolute()


@pytest.mark.parametrize("archive", ARCHIVES.values(), ids=list(ARCHIVES))
def test_the_summary_names_the_size_of_the_download(archive):
    assert f"{archive.size_bytes / 2**20:.0f} MiB" in archive.summary


def test_the_archive_of_uc_merced_is_the_one_that_the_results_were_made_with():
    archive = ARCHIVES["ucmerced"]
    assert archive.sha256 == "06c539ef28703a58fb07bd2837991ac7c48b813b00bb12ac197efd813a18daeb"
    assert archive.images == "UCMerced_LandUse/Images"
