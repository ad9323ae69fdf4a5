"""A backtest as one SVG: pages a day by rule, and when in the day they come. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import date, tzinfo
from html import escape
from typing import Final, NamedTuple

from monitor.cli.heat import HOURS, LEVELS, WEEKDAYS, days_between, level, named
from monitor.tally import Tally, Told, counted

WIDTH: Final = 900
LEFT: Final = 90
RIGHT: Final = 20
BARS: Final = 160  # height of the bars
FOOT: Final = 70 + BARS  # where they stand
HOUR_W: Final = (WIDTH - LEFT - RIGHT) / 24
ROW_H: Final = 14
MOST_ROWS: Final = 92  # days, a line each; more are told by weekday
COLOURS: Final = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8a8a8a")
"""Okabe and Ito's, which colour-blind people tell apart; the last is for all other rules."""

STYLE: Final = """
  text { font: 12px system-ui, sans-serif; fill: #333 }
  .title { font-size: 16px; font-weight: 600 }
  .quiet { fill: #777 }
  .ground { fill: #fff }
  .empty { fill: #8883 }
  .cell { fill: #0072b2 }
  @media (prefers-color-scheme: dark) {
    text { fill: #ddd } .quiet { fill: #999 } .ground { fill: #1b1e23 } .cell { fill: #56b4e9 }
  }
"""


class Box(NamedTuple):
    x: float
    y: float
    width: float
    height: float


def picture(tally: Tally, *, title: str, zone: tzinfo, zone_name: str) -> str:
    """The SVG document. The same tally always gives the same text."""
    found = counted(tally.told)
    word = "pages" if tally.pages else "alerts"
    days = days_between(tally.since.astimezone(zone), tally.until.astimezone(zone))
    rows = days if len(days) <= MOST_ROWS else ()
    top = FOOT + 70 + 20 * (len(_ranked(found)) // 4)
    height = top + ROW_H * (len(rows) or len(WEEKDAYS)) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">',
        f"<title>{escape(title)}</title><style>{STYLE}</style>",
        f'<rect class="ground" width="{WIDTH}" height="{height}"/>',
        _text(LEFT, 28, title, "title"),
        _text(
            LEFT, 48, f"{len(found):,} {word}, {tally.messages:,} messages; times are {zone_name}", "quiet"
        ),
        *_bars(found, days, zone, word),
        *_heat(found, rows, zone, top, word),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _ranked(found: Sequence[Told]) -> list[str]:
    """The rules with the most, and a name for all others if there are too many."""
    counts = Counter(str(one.alert.rule) for one in found)
    names = sorted(counts, key=lambda name: (-counts[name], name))
    most = len(COLOURS) - 1
    return names if len(names) <= most else [*names[:most], "others"]


def _bars(found: Sequence[Told], days: Sequence[date], zone: tzinfo, word: str) -> Iterator[str]:
    names = _ranked(found)
    counts: Counter[tuple[date, str]] = Counter()
    for one in found:
        rule = str(one.alert.rule)
        counts[one.alert.event_at.astimezone(zone).date(), rule if rule in names else "others"] += 1
    most = max((sum(counts[day, name] for name in names) for day in days), default=0)
    yield from _scale(most)
    step = (WIDTH - LEFT - RIGHT) / len(days)
    for n, day in enumerate(days):
        y = float(FOOT)
        for name, colour in zip(names, COLOURS, strict=False):
            if count := counts[day, name]:
                tall = BARS * count / most
                y -= tall
                box = Box(LEFT + (n + 0.1) * step, y, 0.8 * step, tall)
                yield _box(box, f'fill="{colour}"', f"{day}: {count} {word} of {name}")
    for n in range(0, len(days), max(1, len(days) // 8)):
        yield _text(LEFT + n * step, FOOT + 18, f"{days[n]:%d %b}", "quiet")
    yield from _legend(names)


def _scale(most: int) -> Iterator[str]:
    for tick in sorted({0, most // 2, most}):
        y = FOOT - BARS * tick / (most or 1)
        yield f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="#8884"/>'
        yield _text(LEFT - 8, y + 4, f"{tick:,}", "quiet", anchor="end")


def _legend(names: Sequence[str]) -> Iterator[str]:
    for n, (name, colour) in enumerate(zip(names, COLOURS, strict=False)):
        x, y = LEFT + 200 * (n % 4), FOOT + 40 + 20 * (n // 4)
        yield f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>'
        yield _text(x + 16, y, name[:28])


def _heat(found: Sequence[Told], days: Sequence[date], zone: tzinfo, top: float, word: str) -> Iterator[str]:
    counts: Counter[tuple[int, int]] = Counter()
    place = {day: n for n, day in enumerate(days)}
    for one in found:
        at = one.alert.event_at.astimezone(zone)
        counts[place[at.date()] if days else at.weekday(), at.hour] += 1
    most = max(counts.values(), default=0)
    names = list(map(named, days)) or list(WEEKDAYS)
    for hour in HOURS[::3]:
        yield _text(LEFT + hour * HOUR_W, top - 6, f"{hour:02}:00", "quiet")
    for row, name in enumerate(names):
        y = top + row * ROW_H
        yield _text(LEFT - 8, y + ROW_H - 3, name, "quiet", anchor="end")
        for hour in HOURS:
            count = counts[row, hour]
            full = level(count, most) / LEVELS
            style = f'class="cell" opacity="{full:.2f}"' if count else 'class="empty"'
            box = Box(LEFT + hour * HOUR_W + 1, y + 1, HOUR_W - 2, ROW_H - 2)
            yield _box(box, style, f"{name} {hour:02}:00: {count} {word}")


def _box(box: Box, style: str, about: str) -> str:
    place = " ".join(f'{name}="{size:.1f}"' for name, size in box._asdict().items())
    return f"<rect {place} {style}><title>{escape(about)}</title></rect>"


def _text(x: float, y: float, words: str, kind: str = "", *, anchor: str = "start") -> str:
    style = f' class="{kind}"' if kind else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{style}>{escape(words)}</text>'
