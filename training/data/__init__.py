"""The labeled folder and its split. Imports no PyTorch."""
