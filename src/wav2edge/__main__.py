"""The ``wav2edge`` command, and ``python -m wav2edge``: the same."""

import sys


def main() -> int:
    """Run the command line; Ctrl-C while it is still being imported ends it as at any other moment."""
    try:
        from wav2edge.cli import main as command

        return command()
    except KeyboardInterrupt:
        print("wav2edge: interrupted", file=sys.stderr)  # noqa: T201 (the kit that prints is what was interrupted)
        return 130


if __name__ == "__main__":
    sys.exit(main())
