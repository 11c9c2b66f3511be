"""`python -m api` is `tidings`."""

import sys

from api.cli.main import main

sys.exit(main())
