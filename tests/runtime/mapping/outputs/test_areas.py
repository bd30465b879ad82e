"""The table of areas."""

from overfly.runtime.mapping.outputs.areas import areas_csv


def test_the_table_has_a_row_for_each_class(cells, classes):
    assert areas_csv(cells.figures(classes)).decode().splitlines() == [
        "class,cells,area_m2,share,mean_probability",
        "beach,6,41.0,0.621212,0.5089",
        "forest,4,25.0,0.378788,0.5080",
        "harbor,0,0.0,0.000000,",
    ]
