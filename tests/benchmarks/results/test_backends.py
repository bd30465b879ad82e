"""What the report knows about each backend."""

import importlib.util

import pytest

from overfly.benchmarks.results.backends import BACKENDS, require_backend
from overfly.runtime.errors import MissingExtraError
from overfly.runtime.extras import extra_packages


@pytest.mark.parametrize("backend", BACKENDS)
def test_the_packages_of_a_backend_are_brought_by_its_extra_or_always_installed(backend):
    facts = BACKENDS[backend]
    assert set(facts.packages) <= set(extra_packages(facts.extra) if facts.extra else {"openvino"})
    require_backend(backend)


def test_only_what_predict_runs_can_be_deployed():
    assert [name for name, facts in BACKENDS.items() if facts.is_deployable] == ["openvino"]


def test_a_package_that_a_backend_lacks_is_named_with_its_extra(monkeypatch):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        "overfly.runtime.extras.find_spec", lambda name: None if name == "safetensors" else find_spec(name)
    )
    require_backend("onnxruntime")
    with pytest.raises(MissingExtraError) as caught:
        require_backend("pytorch")
    assert all(part in str(caught.value) for part in ("'safetensors'", "overfly[train]"))
