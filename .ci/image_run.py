"""The image's life from start to stop, run by .ci/image-check in the finished environment as its user.

Stands in a state directory, the only place that may be written. Exits 1 with the logs if a claim is not true.
"""

# ruff: noqa: S603, T201 - a script that starts our own command and talks to loopback

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

BIN = Path(sys.executable).parent
COMETWATCH = str(BIN / "cometwatch")
SETTINGS = """\
api: {{base_url: "{base}/v3", api_key_file: apikey}}
watch: {{users: [superhero2, superhero3], start: beginning}}
store: {{url: "sqlite:///{store}"}}
receivers: [{{name: log, console: {{}}}}]
log: {{format: json}}
"""


def main() -> None:
    expect(not os.access(BIN, os.W_OK), "this user can't write the program")
    expect(ends("--version") == 0, "the command runs")
    api, own = free_port(), free_port()
    simulator = start("simulator", "simulate", "--listen", f"127.0.0.1:{api}", "--scenario", "demo")
    configure(f"http://127.0.0.1:{api}")
    os.environ |= {"COMETWATCH_CONFIG": "cometwatch.yaml", "COMETWATCH_SERVER__LISTEN": f"0.0.0.0:{own}"}
    expect(ends("check") == 0, "the settings are accepted")
    expect(ends("healthcheck", "--live") == 1, "the health check fails while nothing runs")
    for life in ("first", "second"):
        monitor = start(f"{life} monitor", "run")
        expect(becomes(lambda: ends("healthcheck") == 0), f"{life} start: healthy")
        expect(ends("healthcheck", "--live") == 0, f"{life} start: alive")
        expect(becomes(lambda: polled(own)), f"{life} start: polls succeed and are scraped")
        expect(ends("status") == 0, f"{life} start: status can be asked")
        expect(stops(monitor) == 0, f"{life} stop: SIGTERM ends it with exit code 0")
    expect(stops(simulator) == 0, "the simulator stops likewise")


def configure(base: str) -> None:
    Path("apikey").write_text("0123456789abcdef0123456789abcdef01234567\n")  # the simulator's own
    Path("cometwatch.yaml").write_text(SETTINGS.format(base=base, store=Path("cometwatch.db").absolute()))


def polled(port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        counts = [line.split() for line in answer.read().decode().splitlines()]
    return any(
        name == 'cometwatch_polls_total{outcome="rows"}' and count != "0.0" for name, count, *_ in counts
    )


def start(name: str, *words: str) -> subprocess.Popen[bytes]:
    with Path(f"{name}.log").open("wb") as log:
        return subprocess.Popen([COMETWATCH, *words], stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def ends(*words: str) -> int:
    return subprocess.run([COMETWATCH, *words], capture_output=True, timeout=60, check=False).returncode


def stops(process: subprocess.Popen[bytes]) -> int:
    process.send_signal(signal.SIGTERM)
    return process.wait(timeout=30)


def becomes(is_so: Callable[[], bool], *, patience_s: float = 30) -> bool:
    until = time.monotonic() + patience_s
    while time.monotonic() < until:
        if is_so():
            return True
        time.sleep(0.2)
    return False


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def expect(is_so: bool, claim: str) -> None:  # noqa: FBT001 - reads as a sentence
    if not is_so:
        for log in sorted(Path().glob("*.log")):
            print(f"==> {log}\n{log.read_text()[-4000:]}", file=sys.stderr)
        sys.exit(f"image-check: not true: {claim}")
    print(f"  {claim}")


if __name__ == "__main__":
    main()
