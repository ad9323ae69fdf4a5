"""`python -m monitor` and the command `cometwatch`."""

from __future__ import annotations

import os
import sys

from monitor.probe import shortcut


def main() -> None:
    code = shortcut(sys.argv[1:], os.environ)
    if code is not None:
        sys.exit(code)

    from monitor.cli import app

    app(prog_name="cometwatch")


if __name__ == "__main__":
    main()
