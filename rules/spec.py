"""Rule files: YAML text to a `RuleSet`, or every problem in them at once, each with file, line and column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, Final

import msgspec
import re2
import yaml

from rules.calendars import Named
from rules.conditions import Condition
from rules.definitions import KEYS, Gathering, RuleFile, schemas
from rules.engine import Rule, RuleSet
from rules.grammar import (
    MAX_LIST,
    Choice,
    Flag,
    Key,
    Record,
    Report,
    Text,
    Words,
    did_you_mean,
    entries,
    list_definition,
    nearest,
    parse,
    shown,
    unknown,
)
from rules.kinds import KINDS
from rules.kinds.base import Kind
from rules.model import RuleName, Severity, digest
from rules.names import Names, Pack, ReadFile, no_files
from rules.pace import SURGE
from rules.pacing import PACING, pacing
from rules.templates import MAX_SUMMARY, MAX_TEMPLATE, MAX_TITLE, Template, TemplateError, link_maker
from rules.text import Place, Problem, Source, SpecError, written
from rules.when import CALL_CONDITIONS, MESSAGE_CONDITIONS

__all__ = [
    "DEFAULT_PACKS",
    "LINK",
    "PACKS",
    "Place",
    "Problem",
    "Source",
    "SpecError",
    "load",
    "pack",
    "schema",
    "warnings",
]

LINK: Final = Place("alerts.link")  #: the template of links is a setting, beside the rule files
PACKS: Final = (
    *("attachments", "edits", "first-contact", "floods", "keywords", "mentions", "missed-calls"),
    *("quiet-agent", "unanswered"),
)
DEFAULT_PACKS: Final = ("missed-calls", "attachments", "mentions")
"""What is looked for unless the operator says what."""

DEFAULT_KIND: Final = "match"
FORMER_NAMES: Final = {
    "frequency": "count",
    "cardinality": "count",
    "flatline": "absence",
    "new_term": "new_value",
    "blacklist": "any",
    "whitelist": "any",
}
"""ElastAlert's names of rule types, for those who come from there."""


def load(
    sources: Sequence[Source],
    *,
    app: str,
    link: str | None = None,
    read: ReadFile | None = None,
    shadow: Sequence[str] = (),
    off: Sequence[str] = (),
) -> RuleSet:
    """The enabled rules of all sources; raises `SpecError` with every problem in any of them.

    `link` is a template such as `https://support.example/{conversation_id}`. `read` gives the text of a
    file that a source names: (its name, the source's name); without it none may. `shadow` and `off` name
    rules that run as `shadow: true` and `enabled: false` whatever their files say; a name that no rule has
    is a problem at `rules.shadow[0]`, `rules.off[2]`.
    """
    names = Names(read_file=read or no_files)
    files = [_opened(source, Report(source=source.name, names=names)) for source in sources]
    gathering = Gathering(names=names)
    gathering.lists(files)
    gathering.calendars(files)
    gathering.conditions(files)
    packs = gathering.packs(files)
    reading = _Reading(names=names, symbols=names.symbolic(), shadow=frozenset(shadow), off=frozenset(off))
    rules = [rule for file, pack in zip(files, packs, strict=True) for rule in reading.rules(file, pack=pack)]
    problems = [problem for file in files for problem in file.report.problems]
    problems += _link_problems(link)
    for setting, told in (("shadow", shadow), ("off", off)):
        problems += _unknown_rules(f"rules.{setting}", told, reading.seen)
    if any(not problem.is_warning for problem in problems):
        raise SpecError([problem for problem in problems if not problem.is_warning])
    return RuleSet(
        app=app,
        rules=rules,
        link=link,
        warnings=problems,
        packs=[pack for pack in packs if pack],
        calendars=names.calendars,
    )


def _unknown_rules(setting: str, told: Sequence[str], known: Mapping[str, Place]) -> Iterator[Problem]:
    for position, name in enumerate(told):
        if name not in known:
            yield Problem(Place(f"{setting}[{position}]"), f"{setting}: {unknown('rule', name, known)}")


def pack(name: str) -> Source:
    """A shipped pack; raises `SpecError` naming the nearest right one."""
    if name not in PACKS:
        raise SpecError(
            [
                Problem(
                    place=Place("rules.packs"),
                    message=f'there is no pack "{name}"{did_you_mean(name, PACKS)}',
                    expected="one of " + ", ".join(PACKS),
                )
            ]
        )
    text = files("rules").joinpath("packs", f"{name}.yaml").read_text(encoding="utf-8")
    return Source(f"packs/{name}.yaml", text)


def warnings(rules: RuleSet, source: str, *, has_groups: bool = False) -> tuple[Problem, ...]:
    """What people should know before running `rules` on a source: user, user-all, app or groups.

    `has_groups`: whether `watch.groups` names any.
    """
    return rules.warnings + tuple(
        Problem(place=rule.place, message=message, is_warning=True)
        for rule in rules.rules
        for message in _blind_spots(rule, source, has_groups=has_groups)
    )


def _blind_spots(rule: Rule, source: str, *, has_groups: bool) -> Iterator[str]:
    name, needs = rule.name, rule.needs
    if source == "user" and needs.groups and not has_groups:
        yield (
            f'rule "{name}" is after something that happens in groups, and the source "user" shows '
            "1-1 conversations only, as far as is known: set watch.source to user-all or app, or name the "
            "groups in watch.groups"
        )
    if source in {"user-all", "app"} and needs.calls:
        yield (
            f'rule "{name}" needs call rows, and whether the source "{source}" shows any is not '
            "documented: `cometwatch doctor` finds out for your app"
        )
    if source == "app" and needs.crowd and not has_groups:
        yield (
            f'rule "{name}" is after something in groups that need not name a watched user, and with the '
            'source "app" only groups in watch.groups are watched whole: name yours there'
        )
    if source == "groups" and needs.direct:
        yield (
            f'rule "{name}" is after something between two users, and the source "groups" reads groups '
            "only: set watch.source to user, user-all or app"
        )


# --- the grammar of a rule file ---------------------------------------------------------------------

RULE_NAME: Final = "[a-z0-9][a-z0-9_-]{0,62}"


def _built_in(name: str) -> str | None:
    """Alerts of ours would be muted, routed and counted with those of a rule of the same name."""
    is_ours = name == SURGE or name.startswith("cometwatch-")
    return f'"{name}" is a name of Cometwatch\'s own alerts' if is_ours else None


def _no_template(text: str) -> str | None:
    return "this is plain text: only title and summary are templates" if "{{" in text else None


def _template(kind: Kind, limit: int) -> Text:
    facts = {**kind.sample, "rule": SAMPLE_RULE}

    def check(text: str) -> str | None:
        try:
            Template(text, limit=limit, sample=facts)
        except TemplateError as error:
            return str(error)
        return None

    example = '"{{ message.type }} in {{ message.conversation_id }}"'
    return Text(expected="a template in quotes", max_length=MAX_TEMPLATE, check=check, example=example)


SAMPLE_RULE: Final = {"name": "big-attachment", "severity": "warning"}


def _keys(kind: Kind) -> dict[str, Key]:
    """The keys of a rule of this kind."""
    return {
        "name": Key(
            Text(
                pattern=RULE_NAME,
                expected="lower-case letters, digits, - and _",
                check=_built_in,
                example="big-attachment",
            ),
            "Unique name of the rule. It is part of every alert's id: after renaming, old findings are new.",
            "name: big-attachment",
        ),
        "kind": Key(
            Choice(words=tuple(KINDS), meant=FORMER_NAMES),
            f"What the rule does. Default: {DEFAULT_KIND}.",
            "kind: match",
        ),
        "when": Key(
            kind.conditions,
            "What must hold: all keys together; `all`, `any` and `not` nest.",
            "when: {type: image}" if kind.is_when_required else "when: {caller: vip-*}",
        ),
        **kind.options,
        "severity": Key(
            Choice(words=tuple(str(severity) for severity in Severity)),
            "For routing and for readers. Default: warning.",
            "severity: critical",
        ),
        **PACING,
        "enabled": Key(Flag(), "false: the rule is checked but not run. Default: true.", "enabled: false"),
        "title": Key(
            _template(kind, MAX_TITLE),
            f"Template of the alert's title, cut at {MAX_TITLE} characters: values in double braces, filters "
            f"and if. It can name: {', '.join(kind.sample)}, rule. Message text can't be named. "
            f"Default: {kind.title}",
        ),
        "summary": Key(
            _template(kind, MAX_SUMMARY),
            f"Template of the alert's summary, cut at {MAX_SUMMARY} characters. Default: {kind.summary}",
        ),
        "labels": Key(
            Words(max_length=200, expected="a mapping from label names to text", check=_no_template),
            "Labels for routing, beside those of the watched user.",
            "labels: {team: payments}",
        ),
        "annotations": Key(
            Words(max_length=2_000, expected="a mapping from names to text", check=_no_template),
            "Plain text for readers, such as runbook_url.",
            "annotations: {runbook_url: https://wiki.example/missed-calls}",
        ),
    }


def _with_option(option: str) -> str:
    """The kinds that have an option, as a message names them."""
    *others, last = [f'"{name}"' for name, kind in KINDS.items() if option in kind.options]
    return f"{', '.join(others)} or {last}" if others else last


def _shape(name: str, kind: Kind) -> Record:
    elsewhere = {
        option: f': it belongs to the kind {_with_option(option)}, and this rule is of the kind "{name}"'
        for its in KINDS.values()
        for option in its.options
    }
    required = ("name", *(("when",) if kind.is_when_required else ()), *kind.required)
    return Record(name="a rule", keys=_keys(kind), required=required, elsewhere=elsewhere)


SHAPES: Final[Mapping[str, Record]] = {name: _shape(name, kind) for name, kind in KINDS.items()}
RULES: Final = Key(
    Choice(words=()), "The rules of this file.", "rules: [{name: images, when: {type: image}}]"
)
FILE: Final = 'a mapping with the key "rules"'
FILE_KEYS: Final[Mapping[str, Key]] = {"rules": RULES, **KEYS}


def _opened(source: Source, report: Report) -> RuleFile:
    """The parts of a file by their keys, as far as it can be read."""
    root = parse(source, report)
    if root is None:
        if not report.problems:
            start = Place(source.name, 1, 1)
            report.problems.append(
                Problem(place=start, message="the file is empty", expected=FILE, example=RULES.example)
            )
        return RuleFile(source=source, report=report, parts={})
    parts = {name: child for name, _, child in entries(root, report, FILE_KEYS, expected=FILE)}
    if not parts and not report.failures:
        report.refuse(root, '"rules" is missing', example=RULES.example)
    return RuleFile(source=source, report=report, parts=parts)


@dataclass(kw_only=True)
class _Reading:
    """The rules of all files under way."""

    names: Names
    symbols: Names
    shadow: frozenset[str]
    off: frozenset[str]
    seen: dict[str, Place] = field(default_factory=dict)  #: by name, also those that are off

    def rules(self, file: RuleFile, *, pack: Pack | None) -> Iterator[Rule]:
        """The enabled rules of one file."""
        node = file.parts.get("rules")
        if node is None:
            return
        if not isinstance(node, yaml.SequenceNode) or len(node.value) > MAX_LIST:
            file.report.refuse(
                node,
                f"found {shown(node)}",
                expected=f"a list of at most {MAX_LIST} rules",
                example=RULES.example,
            )
            return
        for entry in node.value:
            _note_name(entry, file.report, self.seen)
            rule = self._rule(entry, file, pack)
            if rule is not None:
                yield rule

    def _rule(self, node: yaml.Node, file: RuleFile, pack: Pack | None) -> Rule | None:
        report, kind = file.report, _kind_of(node)
        before = report.failures
        read = SHAPES[kind].read(node, report)
        if read is None or report.failures != before:
            return None
        if read["name"] in self.shadow:
            read["shadow"] = True
        rule = _build(read, kind, node, file, print_of=self._fingerprint(kind, node, read), pack=pack)
        return rule if read.get("enabled", True) and read["name"] not in self.off else None

    def _fingerprint(self, name: str, node: yaml.Node, read: dict[str, Any]) -> str:
        """Of what the rule looks for. Of lists their names count: one VIP more must not forget states."""
        if self.names.lists:
            # None: a definition that it names is wrong, which is said there.
            read = SHAPES[name].read(node, Report(source="", names=self.symbols)) or read
        options = {key: read[key] for key in KINDS[name].options if key in read}
        return digest(name, _canonical(read.get("when")), _canonical(_by_name(options)))


def _by_name(value: Any) -> Any:
    """Calendars as their names: a new holiday is no new rule."""
    match value:
        case Named():
            return value.name
        case dict():
            return {key: _by_name(part) for key, part in value.items()}
        case _:
            return value


def _build(
    read: dict[str, Any], name: str, node: yaml.Node, file: RuleFile, *, print_of: str, pack: Pack | None
) -> Rule | None:
    kind = KINDS[name]
    condition: Condition | None = read.get("when")
    options = {key: _plain(read[key]) for key in kind.options if key in read}
    if wrong := kind.wrong(options):
        file.report.refuse(node, wrong)
        return None
    try:
        logic = kind.build(condition, options)
    except re2.error:
        file.report.refuse(node, "its words and patterns are too many for one rule: split it")
        return None
    if frozenset() in logic.interest:
        file.report.warn(
            node, "no message can meet these conditions: their categories or types exclude each other"
        )
    facts = {**kind.sample, "rule": SAMPLE_RULE}
    return Rule(
        name=RuleName(read["name"]),
        kind=name,
        severity=Severity(read.get("severity", Severity.WARNING)),
        labels=read.get("labels", {}),
        annotations=read.get("annotations", {}),
        title=Template(read.get("title", kind.title), limit=MAX_TITLE, sample=facts),
        summary=Template(read.get("summary", kind.summary), limit=MAX_SUMMARY, sample=facts),
        logic=logic,
        fingerprint=print_of,
        place=file.report.place(node),
        needs=kind.needs(condition),
        pacing=pacing(read),
        pack=pack.id if pack else None,
        source_text=written(node, file.source.text),
    )


def _plain(value: Any) -> Any:
    """Kinds work with a calendar, whatever its name."""
    return value.calendar if isinstance(value, Named) else value


def _canonical(value: Any) -> str:
    return msgspec.json.encode(value, order="deterministic").decode()


def _child(node: yaml.Node, name: str) -> yaml.Node | None:
    pairs = node.value if isinstance(node, yaml.MappingNode) else ()
    return next((child for key, child in pairs if key.value == name), None)


def _kind_of(node: yaml.Node) -> str:
    """The kind whose keys to read the rule by. An unknown kind is reported with the keys, as the nearest."""
    child = _child(node, "kind")
    if not isinstance(child, yaml.ScalarNode):
        return DEFAULT_KIND
    return child.value if child.value in KINDS else nearest(child.value, KINDS, FORMER_NAMES) or DEFAULT_KIND


def _note_name(node: yaml.Node, report: Report, seen: dict[str, Place]) -> None:
    """A name names one rule in all files."""
    child = _child(node, "name")
    if not isinstance(child, yaml.ScalarNode):
        return
    if child.value in seen:
        report.refuse(child, f"there is a rule {shown(child)} already, at {seen[child.value]}")
    seen.setdefault(child.value, report.place(child))


def _link_problems(link: str | None) -> list[Problem]:
    try:
        if link is not None:
            link_maker(link)
    except TemplateError as error:
        return [Problem(place=LINK, message=str(error), example="https://support.example/{conversation_id}")]
    return []


# --- the published schema ---------------------------------------------------------------------------


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a rule file, for editors."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Cometwatch rules",
        "description": "Which messages raise alerts, and what the alerts say.",
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            "rules": {
                "description": RULES.description,
                "type": "array",
                "maxItems": MAX_LIST,
                "items": {"oneOf": [{"$ref": f"#/$defs/{name}"} for name in KINDS]},
            },
            **schemas(),
        },
        "$defs": {"list": list_definition()}
        | {name: _kind_schema(name) for name in KINDS}
        | {shape.ref: shape.definition() for shape in (MESSAGE_CONDITIONS, CALL_CONDITIONS)},
    }


def _kind_schema(name: str) -> dict[str, Any]:
    made = SHAPES[name].schema()
    made["properties"]["kind"] = {"description": KINDS[name].description, "const": name}
    if name != DEFAULT_KIND:
        made["required"] = [*made["required"], "kind"]
    return {"description": KINDS[name].description, **made}
