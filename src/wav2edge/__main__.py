"""``python -m wav2edge``: the same as the ``wav2edge`` command."""

import sys

from wav2edge.cli import main

if __name__ == "__main__":
    sys.exit(main())
