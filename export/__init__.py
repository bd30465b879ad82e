"""Floor 2: a run becomes a bundle: ONNX, OpenVINO IR, INT8, with parity checked at each step."""
