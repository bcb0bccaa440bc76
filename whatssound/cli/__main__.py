"""Lets `python -m whatssound.cli` stand for `whatssound`."""

from __future__ import annotations

import sys

from whatssound.cli import main

if __name__ == "__main__":
    sys.exit(main())
