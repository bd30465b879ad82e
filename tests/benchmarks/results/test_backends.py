"""What the report knows about each backend."""

from overfly.benchmarks.results.backends import BACKENDS


def test_only_what_predict_runs_can_be_deployed():
    assert [name for name, facts in BACKENDS.items() if facts.is_deployable] == ["openvino"]
