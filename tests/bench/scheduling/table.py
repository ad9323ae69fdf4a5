"""The figures as text: a table with what each figure means, and bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Final

from tests.bench.figures import shown
from tests.bench.scheduling.score import Score, ratio
from tests.bench.scheduling.settings import Setting

Scores = Mapping[Setting, Mapping[str, Sequence[Score]]]

LEGEND: Final = """\
Self-exciting chat, 30 list entries a user and day. All policies get the same requests on the same traces and
know the same past; one EWMA and the oracle keep the same promise of a longest gap as ours.
  first find   seconds from the sending of a message to its first reading through ANY member's list
  list         the same for every list the message is in: when each member's own list is complete
  × rr         of round robin's figure, seed by seed, then averaged;  interval: users / (requests per second)
  gap          the longest pause of any user, over the promise of four intervals (round robin: 0.25)
  oracle       square root of the trace's true mean rates, each message credited to its busiest member
  CPU          microseconds a request, those of the bench's own clockwork included"""
WIDTH: Final = 50


def table(scores: Scores) -> str:
    return "\n".join(["", LEGEND, *_rows(scores)])


def _rows(scores: Scores) -> Iterator[str]:
    yield (
        f"\n{'':14}|{'first find, s':^32}|{'first find × rr':^20}|{'list':^16}|\n"
        f"{'policy':<14}|{'mean':>8}{'p95':>8}{'p99':>8}{'worst':>8}|{'mean':>7}{'p95':>6}{'p99':>6} |"
        f"{'mean s':>8}{'× rr':>7} |{'gap':>6}{'empty':>8}{'CPU':>6}"
    )
    for setting, policies in scores.items():
        messages = sum(score.messages for score in policies["round robin"])
        yield (
            f"-- {setting}: {setting.per_minute:,} requests/min, {setting.hours:g} h, "
            f"seeds {', '.join(map(str, setting.seeds))}, {messages:,} messages"
        )
        for name in policies:
            yield _row(name, policies[name], policies["round robin"])


def _row(name: str, scores: Sequence[Score], robins: Sequence[Score]) -> str:
    mean = {
        figure: fmean(getattr(score, figure) for score in scores)
        for figure in ("mean", "p95", "p99", "list_mean", "empty", "decision_us")
    }
    of = ratio(scores, robins)
    worst, gap = (max(getattr(score, figure) for score in scores) for figure in ("worst", "worst_gap"))
    seconds = "".join(f"{shown(value):>8}" for value in (mean["mean"], mean["p95"], mean["p99"], worst))
    return (
        f"{name:<14}|{seconds}|{of.mean:>7.3f}{of.p95:>6.2f}{of.p99:>6.2f} |"
        f"{shown(mean['list_mean']):>8}{of.list_mean:>7.2f} |"
        f"{gap:>6.2f}{mean['empty']:>8.1%}{mean['decision_us']:>6.0f}"
    )


def bars(scores: Scores) -> str:
    """Mean and p99 of first finds as bars, round robin's being the full width."""
    lines = [f"\nfirst find of round robin's, █ mean, ░ up to p99 (| is round robin at {WIDTH} columns)"]
    for setting, policies in scores.items():
        lines.append(f"-- {setting}")
        for name in policies:
            of = ratio(policies[name], policies["round robin"])
            lines.append(f"{name:<14}{_bar(of.mean, of.p99)} {of.mean:.2f} … {of.p99:.2f}")
    return "\n".join(lines)


def _bar(mean: float, p99: float) -> str:
    solid, whole = round(WIDTH * mean), round(WIDTH * max(mean, p99))
    bar = "█" * solid + "░" * (whole - solid)
    return bar.ljust(WIDTH) + "|" if len(bar) <= WIDTH else bar[:WIDTH] + "|" + bar[WIDTH:]


def backlogs(scores: Mapping[str, Sequence[Score]]) -> str:
    """What waited during the outage: seconds from its end to the first find, over the seeds."""
    waits = ", ".join(f"{name} {shown(fmean(s.backlog for s in scores[name]))} s" for name in scores)
    return f"\nbacklog, mean wait after the end of an outage: {waits}"
