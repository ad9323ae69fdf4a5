"""`cometwatch backtest` and `cometwatch diff`: rules on messages of the past. Both send nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import typer

from monitor.cli import past, telling
from monitor.cli.given import AsJson, given, moment, print_json, say
from monitor.errors import ConfigError

if TYPE_CHECKING:
    from monitor.comparison import Comparison
    from monitor.tally import Tally

BACKTEST_HELP: Final = """Show what rules would have found in messages of the past. Nothing is sent.

Example:  cometwatch backtest --config cometwatch.yaml --since 30d --rules new-rules.yaml --plot alerts.svg

The history of every watched list (or of each --user) is fetched within the request budget and kept in
--cache, for you alone: the next run asks only for what is new, and an interrupted one goes on where it was.
Files in its place: recorded pages, lines of `cometwatch messages --json`, or files of the cache.

Without --rules your configured rules run. Without settings: --user with --base-url and --api-key-file (or
COMETWATCH_API__… variables), and the shipped packs.
"""
DIFF_HELP: Final = """Compare two rule sets on the same messages: which alerts come, go and change.

Example:  cometwatch diff old-rules/ rules/ recorded/*.json --max-added 20 --max-pages-per-day 5

OLD and NEW are files, folders of *.yaml or names of packs; several with commas between. The messages are
recorded files or folders of them, or else the cache that `cometwatch backtest` filled. It ends with 1 if a
--max-… is exceeded: a gate for CI. With --config watched users and routes are yours, without it everybody in
the messages is watched. Nothing is asked, nothing is sent.
"""

USUAL: Final = timedelta(days=7)  # without --since

Since = Annotated[
    str | None, typer.Option(metavar="SPAN|TIME", help="How far back: 30d, 12h, or 2026-11-01.")
]
Cache = Annotated[
    Path | None, typer.Option(metavar="DIR", help="Where history is kept; ~/.cache/cometwatch/history.")
]


def register(app: typer.Typer) -> None:
    app.command("backtest", help=BACKTEST_HELP)(backtest)
    app.command("diff", help=DIFF_HELP)(diff)


def backtest(
    ctx: typer.Context,
    files: Annotated[list[Path] | None, typer.Argument(help="Recorded files, instead of a history.")] = None,
    *,
    since: Since = None,
    user: Annotated[
        list[str] | None, typer.Option(metavar="UID", help="Only these; also @group:GUID and @app.")
    ] = None,
    rules: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Files, folders or packs, instead of yours.")
    ] = None,
    cache: Cache = None,
    offline: Annotated[bool, typer.Option("--offline", help="Only what the cache has: ask nothing.")] = False,
    redact: Annotated[
        bool, typer.Option("--redact", help="Keep no texts, names, links and metadata values.")
    ] = False,
    requests_per_minute: Annotated[
        int | None, typer.Option(min=1, max=20_000, help="The budget; that of the settings if not said.")
    ] = None,
    time_zone: Annotated[str, typer.Option(help="Of days and hours, for example Europe/Berlin.")] = "UTC",
    examples: Annotated[int, typer.Option(min=0, max=3, help="Alerts to show of each rule.")] = 3,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.svg", help="Draw it, too.")] = None,
    base_url: Annotated[str | None, typer.Option(help="Where to ask, instead of the settings'.")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="The file that holds the API key.")] = None,
    as_json: AsJson = False,
) -> None:
    from monitor.clock import system_wall

    zone, now, source = _zone(time_zone), system_wall(), given(ctx)
    begins = _since(since, now) if since else None
    if files:
        _refuse_with_files(user=user, offline=offline, redact=redact)
        stage = past.recorded_stage(source, files, since=begins)
    else:
        from monitor.cli import historic

        history = historic.History(source, base_url=base_url, key_file=api_key_file, users=user or [])
        stage = historic.historic_stage(
            history,
            cache or past.default_cache(),
            begins or now - USUAL,
            offline=offline,
            redact=redact,
            budget=requests_per_minute,
        )
    rule_set = stage.rules(rules or [])
    tally = past.tallied(stage, rule_set, zone)
    notes = tuple(telling.notes_on(stage, tally, rule_set))
    if plot is not None:
        _draw(plot, tally, zone, time_zone)
    if as_json:
        print_json(telling.document(stage, tally, notes))
    else:
        telling.show(stage, tally, notes, zone=zone, zone_name=time_zone, examples=examples)


def diff(
    ctx: typer.Context,
    old: Annotated[str, typer.Argument(metavar="OLD", help="The rules as they are.")],
    new: Annotated[str, typer.Argument(metavar="NEW", help="The rules as they would be.")],
    files: Annotated[list[Path] | None, typer.Argument(help="Recorded files, or folders of them.")] = None,
    *,
    messages: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="The same; may be repeated.")
    ] = None,
    cache: Cache = None,
    since: Since = None,
    max_added: Annotated[int | None, typer.Option(min=0, help="Fail if more alerts are added.")] = None,
    max_removed: Annotated[int | None, typer.Option(min=0, help="Fail if more are removed.")] = None,
    max_changed: Annotated[int | None, typer.Option(min=0, help="Fail if more are changed.")] = None,
    max_pages_per_day: Annotated[
        float | None, typer.Option(min=0, help="Fail if NEW sends more pages a day.")
    ] = None,
    examples: Annotated[int, typer.Option(min=0, help="Alerts to show of each change and rule.")] = 3,
    as_json: AsJson = False,
) -> None:
    from monitor.clock import system_wall
    from monitor.comparison import compare

    source, begins = given(ctx), _since(since, system_wall()) if since else None
    if given_files := [*(messages or []), *(files or [])]:
        if cache is not None:
            raise typer.BadParameter("give files or --cache, not both")
        stage = past.recorded_stage(source, given_files, since=begins)
    else:
        stage = past.kept_stage(source, cache or past.default_cache(), since=begins)
    was, is_ = (stage.rules(past.split(names)) for names in (old, new))
    after = past.tallied(stage, is_, UTC)
    compared = compare(past.tallied(stage, was, UTC), after)
    notes = tuple(telling.notes_on(stage, after, is_))
    broken = tuple(Limits(max_added, max_removed, max_changed, max_pages_per_day).broken(compared))
    if as_json:
        print_json(telling.comparison_document(compared, after, broken, notes))
    else:
        telling.show_comparison(compared, after, notes, examples=examples)
    for line in broken:
        say(f"FAILED: {line}")
    if broken:
        raise typer.Exit(1)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a gate still lets through."""

    added: int | None
    removed: int | None
    changed: int | None
    pages_per_day: float | None

    def broken(self, compared: Comparison) -> Iterator[str]:
        for limit, number, words, option in (
            (self.added, compared.added, "alerts are added", "added"),
            (self.removed, compared.removed, "alerts are removed", "removed"),
            (self.changed, compared.changed, "alerts are changed", "changed"),
            (self.pages_per_day, compared.pages_per_day_new, "pages a day are sent", "pages-per-day"),
        ):
            if limit is not None and number > limit:
                yield f"{number:g} {words}, and --max-{option} allows {limit:g}"


# --- options ----------------------------------------------------------------------------------------------


def _refuse_with_files(*, user: Sequence[str] | None, offline: bool, redact: bool) -> None:
    for name, is_given in (("--user", bool(user)), ("--offline", offline), ("--redact", redact)):
        if is_given:
            raise typer.BadParameter(f"{name} is for a history that is fetched: leave it out with files")


def _since(text: str, now: datetime) -> datetime:
    from pydantic_core import PydanticCustomError

    from monitor.settings.forms import duration

    try:
        return now - duration(text)
    except (PydanticCustomError, OverflowError):
        pass  # perhaps it is a time
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        hint = "give a span or a time, for example 30d or 2026-11-01"
        raise typer.BadParameter(f"--since {text}: {hint}") from None
    return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)


def _zone(name: str) -> tzinfo:
    try:
        return UTC if name == "UTC" else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        hint = "there is no such zone; for example Europe/Berlin"
        raise typer.BadParameter(f"--time-zone {name}: {hint}") from None


def _draw(file: Path, tally: Tally, zone: tzinfo, zone_name: str) -> None:
    from monitor.cli.picture import picture

    title = f"Backtest: {moment(tally.since)} to {moment(tally.until)}"
    try:
        file.write_text(picture(tally, title=title, zone=zone, zone_name=zone_name), encoding="utf-8")
    except OSError as error:
        raise ConfigError(f"--plot {file}: {error.strerror}; give a file such as alerts.svg") from error
