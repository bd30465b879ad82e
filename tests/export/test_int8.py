"""What NNCF prints goes to the log, never to standard output."""

import logging
import sys

import nncf  # noqa: F401 - it sets up its log when it is imported
import numpy as np

from overfly.export.int8 import calibration_dataset, redirect_nncf_output


def test_nncf_output_is_logged_on_one_line(capsys, caplog):
    logger = logging.getLogger("nncf")
    before = logger.handlers[:]
    with caplog.at_level(logging.INFO, "overfly.export"), redirect_nncf_output():
        logger.info("two\n  lines")
        sys.stdout.write("a progress bar")
    assert caplog.record_tuples == [("overfly.export.int8", logging.INFO, "NNCF: two lines")]
    assert capsys.readouterr() == ("", "")
    assert logger.handlers == before


def test_calibration_reports_each_image_once():
    steps = []
    images = np.zeros((2, 4, 4, 3), np.uint8)
    dataset = calibration_dataset(images, lambda done, total: steps.append((done, total)))
    # NNCF may read the images again.
    batches = [*dataset.get_inference_data(), *dataset.get_inference_data([0])]
    assert [batch.shape for batch in batches] == [(1, 4, 4, 3)] * 3
    assert steps == [(1, 2), (2, 2), (2, 2)]
