"""`python -m api` is `tidings`."""

import sys

from api.cli import main

sys.exit(main())
