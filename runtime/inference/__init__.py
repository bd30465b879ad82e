"""Inference with OpenVINO: devices, compilation, the runner and its caches."""
