"""`python -m minigrad`: the same as the command `minigrad`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command line; returns the exit status."""
    try:
        from minigrad.cli import main as run  # noqa: PLC0415 (Ctrl-C may come while this loads)

        return run()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
