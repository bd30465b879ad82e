"""How it is measured: images, timing, load time and memory, the environment."""
