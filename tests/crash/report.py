"""The figures of a campaign, for people."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from tests.crash.campaign import Result
from tests.crash.judge import Wrong, repeats
from tests.crash.points import POINTS
from tests.crash.receivers import Fate

LAST: Final = "(the last life)"
COLUMNS: Final = (
    "kill point", "kills", "unreached", "messages", "findings", "lost", "invented", "found twice",
    "repeated, same id", "other id", "restart p50", "p99",
)  # fmt: skip
WORSE: Final = {
    "lost": (Wrong.LOST,),
    "invented": (Wrong.INVENTED, Wrong.PEOPLE),
    "found twice": (Wrong.TWICE,),
    "other id": (Wrong.OTHER_ID, Wrong.ALTERED),
}


def told(result: Result) -> str:
    """The table and the sums, one string to print."""
    return "\n".join([*_table(list(_rows(result))), "", *_sums(result)])


def _rows(result: Result) -> Iterator[Sequence[str]]:
    """What happened in the lives that ended at a point; a repeat counts where the send before it did."""
    at = _places(result)
    messages = Counter(map(at, result.truth.messages))
    findings = Counter(map(at, result.stored.alerts.values()))
    again = Counter(at(before.at) for before, _ in repeats(result.posts))
    wrong = Counter((at(one.at), one.wrong) for one in result.violations)
    yield COLUMNS
    for name in [*(point.name for point in POINTS), LAST, "all"]:
        places = [*(point.name for point in POINTS), LAST] if name == "all" else [name]
        lives = [life for life in result.lives if life.charge.point.name in places]
        if not lives and name != LAST:
            continue
        restarts = sorted(_restarts(result, places))

        def total(counter: Counter[str], places: Iterable[str] = places) -> str:
            return str(sum(counter[place] for place in places))

        sums = {
            column: str(sum(wrong[place, kind] for place in places for kind in kinds))
            for column, kinds in WORSE.items()
        }
        yield (
            name, str(len(lives)), str(sum(not life.came_to_point for life in lives)), total(messages),
            total(findings), sums["lost"], sums["invented"], sums["found twice"], total(again),
            sums["other id"], _quantile(restarts, 0.5), _quantile(restarts, 0.99),
        )  # fmt: skip


def _places(result: Result) -> Callable[[float], str]:
    """The point at which the life of a moment ended."""
    starts = [life.started_at for life in result.lives]
    ends_at = result.lives[-1].died_at if result.lives else 0.0

    def place(at: float) -> str:
        if at >= ends_at:
            return LAST
        return result.lives[max(0, bisect_right(starts, at) - 1)].charge.point.name

    return place


def _restarts(result: Result, places: Iterable[str]) -> Iterator[float]:
    """How long the life after a kill at one of `places` took to read its first page."""
    for before, after in zip(result.lives, result.lives[1:], strict=False):
        if before.charge.point.name in places and after.read_after_s is not None:
            yield after.read_after_s


def _quantile(ordered: Sequence[float], part: float) -> str:
    if not ordered:
        return "–"
    return f"{ordered[min(len(ordered) - 1, int(part * len(ordered)))]:.2f} s"


def _table(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        first, *rest = zip(row, widths, strict=True)
        yield "  ".join([first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in rest)])


def _sums(result: Result) -> Iterator[str]:
    fates = Counter(post.fate for post in result.posts)
    again = repeats(result.posts)
    doubtful = sum(before.fate is Fate.DOUBTFUL for before, _ in again)
    must = sum(one.must for one in result.truth.expected.values())
    over = {entry.alert for entry in result.stored.entries if entry.status == "resolved"}
    yield (
        f"{len(result.lives)} kills in {result.lasted_s:.0f} s, seed {result.plan.seed}: "
        f"{len(result.truth.messages)} messages, {result.truth.readings} rows of watched lists, "
        f"{must} findings due, {len(result.stored.alerts)} found, {len(over)} of them resolved later."
    )
    yield (
        f"{len(result.posts)} POSTs arrived: {fates[Fate.ACCEPTED]} accepted, {fates[Fate.REFUSED]} refused, "
        f"{fates[Fate.DOUBTFUL]} left in doubt by the receiver. {len(again)} were repeats of what had been "
        f"taken, {doubtful} of them for the receiver's own doing."
    )
    yield _lasting(result)
    yield "A ring with no end was given up after 8 s (the pack: 90 s). SIGKILL does not test fsync."


def _lasting(result: Result) -> str:
    """What became of what lasts."""
    messages, stored = result.heard.messages, result.stored
    news = {entry.notification for entry in stored.entries}
    floods = sum(rule == "flood" for rule in stored.rules.values())
    told = [entry for entry in stored.entries if (entry.receiver, entry.status) == ("lead", "firing")]
    roots = Counter(one.mark["receiver"] for one in messages if one.thread_ts is None)
    repeats = sum(one.mark["notification"] not in news for one in messages)
    heard, edits = result.heard, sum(one.edits for one in messages)
    return (
        f"{floods} floods: {roots['bot']} messages by a bot about them one by one, {roots['room']} about "
        f"groups of them, with {len(messages) - roots.total()} replies and {edits} edits; {repeats} repeats, "
        f"{len(heard.acknowledged)} acknowledged, {len(told)} escalated; the Alertmanager was told "
        f"{len(heard.asserted)} times of one."
    )
