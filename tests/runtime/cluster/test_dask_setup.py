"""Nothing of Dask is written to standard error, whatever the user's configuration of Dask says."""

import os
import subprocess
import sys

LOG = """
import logging
from overfly.runtime.cluster.dask_setup import silence_dask

silence_dask()
for name in ("distributed.client", "distributed.worker", "distributed.gc", "tornado.application", "asyncio"):
    logging.getLogger(name).error("an error of %s", name)
"""


def test_no_logger_of_dask_writes(tmp_path):
    (tmp_path / "dask.yaml").write_text("logging:\n  distributed.worker: info\n")
    environment = {**os.environ, "DASK_CONFIG": str(tmp_path)}
    result = subprocess.run([sys.executable, "-c", LOG], env=environment, capture_output=True, text=True, check=True)
    assert (result.stdout, result.stderr) == ("", "")
