"""Sessions of ONNX Runtime send no telemetry; their answers are compared with PyTorch in the export tests."""

import pytest

from overfly.export.onnx_session import open_onnx_session

onnxruntime = pytest.importorskip("onnxruntime")


def test_telemetry_is_off_before_the_file_is_opened(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(onnxruntime, "disable_telemetry_events", lambda: calls.append("off"))
    with pytest.raises(Exception, match=r"absent\.onnx"):  # its exceptions have no common base
        open_onnx_session(tmp_path / "absent.onnx")
    assert calls == ["off"]
