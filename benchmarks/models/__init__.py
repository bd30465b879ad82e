"""What is measured: the backends, and the rows of a bench."""
