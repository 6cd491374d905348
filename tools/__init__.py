"""What builds and locks the project; never imported by the product."""

import sys

if sys.version_info < (3, 11):  # noqa: UP036 (this is where an older Python is told so)
    raise SystemExit("error: Python 3.11 or newer is needed\nhint: name one: make PYTHON=python3.11 ...")
