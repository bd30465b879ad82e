"""The options of every benchmark, its table and its JSON."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from overfly.benchmarks import development
from overfly.benchmarks.development.ab_test import ABResult
from overfly.benchmarks.development.harness import make_parser, results_table, show

FOLDER = Path(development.__file__).parent
PROGRAMS = [path.stem for path in sorted(FOLDER.glob("*.py")) if "def main(" in path.read_text(encoding="utf-8")]


@pytest.mark.slow
@pytest.mark.parametrize("name", PROGRAMS)
def test_every_benchmark_can_be_started_and_has_json(name, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", [name, "--help"])
    monkeypatch.delitem(sys.modules, f"overfly.benchmarks.development.{name}", raising=False)
    with pytest.raises(SystemExit) as stopped:
        runpy.run_module(f"overfly.benchmarks.development.{name}", run_name="__main__")
    assert stopped.value.code == 0
    assert f"overfly.benchmarks.development.{name}" in (printed := capsys.readouterr().out)
    assert "--json" in printed


@pytest.mark.parametrize("text", ["0", "-1", "many"])
def test_only_numbers_of_at_least_one_are_taken(capsys, text):
    with pytest.raises(SystemExit) as stopped:
        make_parser("x", n_rounds=3).parse_args(["--rounds", text])
    assert stopped.value.code == 2
    assert text in capsys.readouterr().err.splitlines()[-1]


def test_every_benchmark_has_rounds_and_json():
    options = make_parser("x", n_rounds=3).parse_args([])
    assert (options.rounds, options.json) == (3, False)


def test_the_table_says_what_missed_its_limit():
    good = ABResult("fast", "ms", (1.0,), (1.0,), at_most=1.03)
    bad = ABResult("slow", "images/s", (90.0,), (100.0,), at_least=0.97)
    shown = results_table([good, bad])
    columns = {column.header: list(column.cells) for column in shown.columns}
    assert columns["met"] == ["yes", "no"]
    assert columns["ratio"] == ["1.000", "0.900"]
    assert columns["limit"] == ["at most 1.03", "at least 0.97"]


def test_as_json_every_figure_is_there(capsys):
    show([ABResult("x", "ms", (2.0, 3.0), (4.0, 3.0), at_most=0.7)], as_json=True)
    (printed,) = json.loads(capsys.readouterr().out)
    assert printed == {
        "name": "x",
        "unit": "ms",
        "ours": [2.0, 3.0],
        "theirs": [4.0, 3.0],
        "at_least": None,
        "at_most": 0.7,
        "ratios": [0.5, 1.0],
        "ratio": 0.75,
        "is_met": False,
    }
