"""Find, decode and resize images, and watch folders for new ones."""
