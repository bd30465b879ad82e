"""``python -m overfly.cli`` is the same as ``overfly``."""

from overfly.cli import main

if __name__ == "__main__":
    main()
