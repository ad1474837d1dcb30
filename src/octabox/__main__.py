"""The ``octabox`` command."""

from octabox.cli.main import main

if __name__ == "__main__":
    main()
