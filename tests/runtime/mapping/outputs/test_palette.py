"""Every class has a color of its own."""

import numpy as np

from overfly.runtime.mapping.outputs.palette import class_colors


def test_colors_differ_and_do_not_depend_on_the_number_of_classes():
    colors = class_colors(60)
    assert class_colors(21) == colors[:21]
    values = np.array(colors, int)
    assert values.min() >= 0
    assert values.max() <= 255
    distances = np.abs(values[:, None] - values[None]).sum(axis=2) + 1000 * np.eye(60, dtype=int)
    assert distances.min() > 12
    assert distances[:24, :24].min() > 60
