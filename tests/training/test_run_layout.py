"""A run folder has the files of the layout."""

import pytest

from overfly.training import run_layout

pytestmark = pytest.mark.usefixtures("small_model")


def test_a_finished_run_has_every_file_of_the_layout(finished):
    names = {value for name, value in vars(run_layout).items() if name.isupper()}
    assert len(names) == 4
    assert names <= {path.name for path in finished[0].path.iterdir()}
