"""Nothing of Dask is written to standard error, whatever the user's configuration of Dask says."""

import os
import subprocess
import sys

import pytest

pytest.importorskip("distributed")

LOG = """
import logging
from overfly.runtime.cluster.dask_setup import silence_dask

silence_dask()
for name in ("distributed.client", "distributed.worker", "distributed.gc", "tornado.application", "asyncio"):
    logging.getLogger(name).error("an error of %s", name)
"""


@pytest.mark.parametrize("environment", [{}, {"DASK_LOGGING__DISTRIBUTED.WORKER": "info"}], ids=["default", "set"])
def test_no_logger_of_dask_writes(environment):
    result = subprocess.run(
        [sys.executable, "-c", LOG], env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    assert (result.stdout, result.stderr) == ("", "")
