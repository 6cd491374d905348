"""A browser for $BROWSER: `python -m tests.support.browse USER URL` signs in at the demo's provider as USER."""

import sys

from strongroom.cli.demo.browser import sign_in_as

if __name__ == "__main__":
    sign_in_as(sys.argv[1], sys.argv[2])
