"""`python -m ganvas`."""

import sys

from .cli import main

sys.exit(main())
