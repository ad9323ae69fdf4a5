"""How many rows a second become messages on one core: `python -m tests.source.bench_decode`."""

from __future__ import annotations

import json
import sys
import time
from typing import Any

from monitor.source.pages import decode
from tests.source.rows import SAMPLE, a_row

ROWS = 1000
ROUNDS = 15


def rows_per_second(row: dict[str, Any]) -> float:
    body = json.dumps({"data": [row | {"id": str(number)} for number in range(1, ROWS + 1)]}).encode()
    best = float("inf")
    for _ in range(ROUNDS):
        began = time.process_time()
        page = decode(body)
        best = min(best, time.process_time() - began)
        assert len(page.messages) == ROWS
    return ROWS / best


def main() -> None:
    file = {
        "name": "a.png",
        "extension": "png",
        "mimeType": "image/png",
        "size": 48213,
        "url": "https://x/a.png",
    }
    kinds = {
        "text": a_row(),
        "text with a mention": a_row(
            {"text": "Hi <@uid:bob>", "mentions": {"bob": {"uid": "bob", "name": "Bob"}}}
        ),
        "image": a_row({"attachments": [file]}, type="image"),
        "call (recorded)": json.loads(SAMPLE.read_bytes())["data"][0],
    }
    for kind, row in kinds.items():
        sys.stdout.write(f"{kind:<20} {rows_per_second(row):>8,.0f} rows/s\n")


if __name__ == "__main__":
    main()
