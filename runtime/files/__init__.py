"""Files and folders: written whole or not at all, and guarded against being overwritten."""
