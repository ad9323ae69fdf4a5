"""`python -m monitor` and the command `cometwatch`."""

from __future__ import annotations


def main() -> None:
    from monitor.cli import app

    app(prog_name="cometwatch")


if __name__ == "__main__":
    main()
