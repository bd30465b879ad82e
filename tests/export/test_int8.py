"""Calibration images reach NNCF one by one."""

import numpy as np

from overfly.export.int8 import calibration_dataset


def test_calibration_reports_each_image_once():
    steps = []
    images = np.zeros((2, 4, 4, 3), np.uint8)
    dataset = calibration_dataset(images, lambda done, total: steps.append((done, total)))
    # NNCF may read the images again.
    batches = [*dataset.get_inference_data(), *dataset.get_inference_data([0])]
    assert [batch.shape for batch in batches] == [(1, 4, 4, 3)] * 3
    assert steps == [(1, 2), (2, 2), (2, 2)]
