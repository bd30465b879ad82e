"""The labelled folder and its split. Imports no PyTorch."""
