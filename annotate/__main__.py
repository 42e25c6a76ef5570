"""``python -m annotate`` is ``lineinfo-annotate``."""

import sys

from annotate.cli.annotate import main

if __name__ == "__main__":
    sys.exit(main())
