"""`cometwatch test`: rules tried on a timeline, on the shipped road and a virtual clock."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated

import typer

from monitor.cli.given import AsJson, given, print_json, say
from monitor.errors import ConfigError
from monitor.logs import one_line, quietly
from monitor.settings.text import source_of
from monitor.timeline.coverage import percent
from monitor.timeline.report import covering, failed, junit, plain, summary
from monitor.timeline.running import Prepared, Result, Run, prepare
from rules.text import Problem, Source, SpecError

HELP = """Run rule tests: YAML files with what is said at which time, and what must be told by when.

The shipped engine, store and delivery run on a virtual clock, hours in milliseconds. A file names its rules;
--rules puts others in their place, and with --config a file that names none tests yours. Of a folder, every
YAML file with `tests:` is run. Ends with 0 if all pass, 1 if one fails, 2 for a mistake in a file.

Example: cometwatch test tests/ --coverage --junit report.xml
"""
TESTS = re.compile(r"^tests:", re.MULTILINE)


def register(app: typer.Typer) -> None:
    app.command("test", help=HELP)(try_out)


def try_out(
    ctx: typer.Context,
    files: Annotated[list[Path], typer.Argument(help="Test files, or folders with such.")],
    *,
    rules: Annotated[
        list[Path] | None, typer.Option(help="Rule files to test instead of those that the tests name.")
    ] = None,
    only: Annotated[str | None, typer.Option(help="Run the tests that have this in their name.")] = None,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Show which conditions were never true or never false.")
    ] = False,
    coverage_min: Annotated[
        float | None, typer.Option(min=0, max=100, help="Fail if less of the outcomes was met, in percent.")
    ] = None,
    junit_file: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML for CI.")] = None,
    as_json: AsJson = False,
) -> None:
    prepared = _prepared(ctx, files, rules or [])
    run = Run(only=only)
    with quietly(logging.CRITICAL):  # what the parts under test log would drown the results
        results = [_shown(result, as_json=as_json) for result in run.results(prepared)]
    if not results:
        raise ConfigError(
            f'no test has "{only}" in its name' if only else "there are no tests in these files"
        )
    covered = run.coverage.covered()
    if junit_file:
        _write(junit_file, junit(results))
    if as_json:
        print_json(plain(results, covered))
    else:
        if coverage:
            typer.echo("\n".join(covering(covered)))
        say(summary(results))
    is_short = coverage_min is not None and percent(covered) < coverage_min
    if is_short:
        say(f"coverage is {percent(covered):.1f}%, less than {coverage_min:g}%: --coverage tells of what")
    raise typer.Exit(0 if all(result.is_fine for result in results) and not is_short else 1)


def _shown(result: Result, *, as_json: bool) -> Result:
    if not as_json:
        verdict = "ok  " if result.is_fine else "FAIL"
        typer.echo(f"{verdict} {one_line(result.test.name)}  ({result.seconds * 1000:.0f} ms)")
        if not result.is_fine:
            typer.echo(failed(result))
    return result


def _prepared(ctx: typer.Context, files: Sequence[Path], rules: Sequence[Path]) -> list[Prepared]:
    """Every file, ready to be performed. Raises ConfigError with the problems of all of them."""
    problems: list[Problem] = []
    prepared: list[Prepared] = []
    try:
        sources = [source_of(file) for file in rules] or _configured(ctx)
        found = list(_found(files))
    except SpecError as error:
        raise ConfigError(str(error)) from error
    for file in found:
        try:
            prepared.append(prepare(file, rules=sources, instead=bool(rules)))
        except SpecError as error:
            problems += error.problems
    if problems:
        raise ConfigError(str(SpecError(dict.fromkeys(problems))))
    return prepared


def _configured(ctx: typer.Context) -> Sequence[Source]:
    source = given(ctx)
    return source.configuration().sources if source.config is not None else ()


def _found(files: Sequence[Path]) -> Iterator[Source]:
    for file in files:
        if not file.is_dir():
            yield source_of(file)
            continue
        below = sorted(found for found in file.rglob("*.y*ml") if found.is_file())
        yield from (source for source in map(source_of, below) if TESTS.search(source.text))


def _write(file: Path, content: bytes) -> None:
    try:
        file.write_bytes(content)
    except OSError as error:
        raise ConfigError(f"{file} can't be written: {error.strerror}") from error
