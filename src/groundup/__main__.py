"""``python -m groundup`` is the ``groundup`` command."""

from groundup.cli import main

if __name__ == "__main__":
    main()
