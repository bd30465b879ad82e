"""Inference with OpenVINO: devices, compilation, the runner and the cache of compiled models."""
