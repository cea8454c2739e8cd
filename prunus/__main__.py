"""`python -m prunus` is the `prunus` command."""

import sys

from prunus.cli.main import main

sys.exit(main())
