"""`python -m grokray`, as the console script."""

import sys

from grokray.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
