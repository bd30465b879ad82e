"""What NNCF prints goes to the reporter, never to standard output."""

import logging
import sys

import numpy as np

from overfly.export.int8 import calibration_dataset, redirect_nncf_output


def test_nncf_output_becomes_notes_of_one_line(capsys):
    notes, logger = [], logging.getLogger("nncf")
    before = logger.handlers[:], logger.level
    with redirect_nncf_output(notes.append):
        logger.info("two\n  lines")
        sys.stdout.write("a progress bar")
    assert notes == ["NNCF: two lines"]
    assert capsys.readouterr() == ("", "")
    assert (logger.handlers, logger.level) == before


def test_without_a_target_nncf_is_silent(capsys):
    with redirect_nncf_output(None):
        logging.getLogger("nncf").info("a message")
        sys.stdout.write("a progress bar")
    assert capsys.readouterr() == ("", "")


def test_calibration_reports_each_image_once():
    steps = []
    images = np.zeros((2, 4, 4, 3), np.uint8)
    dataset = calibration_dataset(images, lambda done, total: steps.append((done, total)))
    # NNCF may read the images again.
    batches = [*dataset.get_inference_data(), *dataset.get_inference_data([0])]
    assert [batch.shape for batch in batches] == [(1, 4, 4, 3)] * 3
    assert steps == [(1, 2), (2, 2), (2, 2)]
