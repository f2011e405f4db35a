"""The ``wav2edge`` command, and ``python -m wav2edge``: the same."""

import os
import sys

INTERRUPTED = 130


def main() -> int:
    """Run the command line; Ctrl-C while it is still being imported ends it as at any other moment."""
    try:
        from wav2edge.cli import main as command

        code = command()
    except KeyboardInterrupt:
        print("wav2edge: interrupted", file=sys.stderr)  # noqa: T201 (the kit that prints is what was interrupted)
        code = INTERRUPTED
    if code == INTERRUPTED:
        # Everything is closed. An ordinary exit would wait for threads that hang in a pipe; and if Ctrl-C came while a
        # library ran Python code, the interpreter would end as killed by a signal.
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                stream.flush()
        os._exit(code)
    return code


if __name__ == "__main__":
    sys.exit(main())
