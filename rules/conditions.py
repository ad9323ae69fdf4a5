"""Matchers over one message: each is a value, says in words what it means, and compiles to a fast closure.

A condition is a function of the message and the watch set, never of the list a row came from. Chat text
meets only RE2, whose time is linear in the text: no message can stall the engine.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import Any, ClassVar, Final, NamedTuple, TypeVar

import re2

from rules.model import Attachment, Message, Value, WatchSet
from rules.names import EMPTY

Test = Callable[[Message, WatchSet], bool]
K = TypeVar("K")

TEXT_LIMIT: Final = 65_536  # characters of one text that are looked at; the API takes no longer one
REGEX_MEMORY: Final = 8 << 20  # bytes that RE2 may use for one pattern; with less it falls back to a slow way
# The time for a text is bounded by its length times this: about a second for the longest text that is made
# to be slow. `.{1000}` has 7,000 steps, one `\pL` has 1,200.
REGEX_STEPS: Final = 4_000

# Measured: a hostile text costs up to 20 ns for each step of an expression and byte, however long ago RE2
# gave up on being fast. So an expression of many steps looks at so much less of a long text: 60 ms at worst.
REGEX_REACH: Final = 3_000_000

FILE_TYPES: Final = ("image", "video", "audio", "file")


class Key(NamedTuple):
    """Something a message may have: its sender, one of its tags, a word in its text."""

    aspect: str
    value: Hashable


class Interest(NamedTuple):
    """Which messages a condition could hold for: their categories, types and keys, None meaning any.

    Of several keys a message needs one.
    """

    categories: frozenset[str] | None = None
    types: frozenset[str] | None = None
    keys: frozenset[Key] | None = None  #: see `rules.access`


ANYTHING: Final = Interest()


class SafeError(RuntimeError):
    """An error whose words quote no message: a fault may tell them."""


class Condition(Value, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """One node of a rule's `when`."""

    COST: ClassVar[int] = 1  #: what to ask first: fields are cheap, texts and trees are not

    def describe(self) -> str:
        """What it asks, to follow "messages with"."""
        raise NotImplementedError

    def compile(self) -> Test:
        raise NotImplementedError

    def interest(self) -> Interest:
        return ANYTHING

    def parts(self) -> Iterator[Condition]:
        """Itself and all inside it that it asserts (nothing below a `not`)."""
        yield self


def regex(pattern: str) -> Any:
    """A compiled RE2 pattern; raises `re2.error` on a pattern that RE2 refuses."""
    options = re2.Options()
    options.max_mem = REGEX_MEMORY
    options.log_errors = False
    options.never_capture = True
    return re2.compile(pattern, options)


def regex_problem(pattern: str) -> str | None:
    """What RE2 has against a pattern, or None."""
    try:
        steps = regex(pattern).programsize
    except re2.error as error:
        reason = error.args[0] if error.args else b""
        said = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        return f"RE2 refuses this regular expression: {said}"
    if steps > REGEX_STEPS:
        return f"this regular expression is too large ({steps} steps, more than {REGEX_STEPS}): repeat less"
    return None


def regex_steps(pattern: str) -> int:
    """How many steps an expression has, each letter of any script being one."""
    options = re2.Options()
    options.log_errors = False
    options.encoding = re2.Options.Encoding.LATIN1
    return int(re2.compile(pattern.encode("utf-8", "replace"), options).programsize)


def reach(patterns: Iterable[str]) -> int:
    """How many bytes of a text are looked at for these expressions together."""
    return REGEX_REACH // max(1, sum(map(regex_steps, patterns)))


def regex_doubt(pattern: str) -> str | None:
    """What people should know of an expression that RE2 takes, or None."""
    limit = reach([pattern])
    if limit >= TEXT_LIMIT:
        return None
    return (
        f"this regular expression is so large that it looks at the first {limit} bytes of a text only: "
        "repeat less, or ask for words"
    )


def globs(patterns: Iterable[str]) -> Callable[[str], bool]:
    """Whether a text equals one of the patterns, in which * stands for any text and ? for one character."""
    exact = frozenset(pattern for pattern in patterns if not is_glob(pattern))
    wild = [pattern for pattern in patterns if is_glob(pattern)]
    if not wild:
        return exact.__contains__
    # (?s): a hostile line break inside a name must not end the match.
    search = regex("(?s)" + "|".join(f"(?:{_glob_source(pattern)})" for pattern in wild)).fullmatch
    return lambda text: text in exact or search(encoded(text)) is not None


def is_glob(text: str) -> bool:
    return "*" in text or "?" in text


def _glob_source(pattern: str) -> str:
    return "".join({"*": ".*", "?": "."}.get(char) or re2.escape(char) for char in pattern)


def encoded(text: str) -> bytes:
    """UTF-8 for RE2; lone surrogates, which have none, become question marks."""
    return text[:TEXT_LIMIT].encode("utf-8", "replace")


def words_said(values: Sequence[str]) -> str:
    """The values as a person lists them; of very many the first ones."""
    more = [f"{len(values) - SAID} more"] if len(values) > 2 * SAID else []
    return " or ".join([*(values[:SAID] if more else values), *more]).replace(EMPTY, "(an empty list)")


SAID: Final = 20


def always(_message: Message, _watch: WatchSet) -> bool:
    return True


# --- plain fields -----------------------------------------------------------------------------------


def _caller(message: Message) -> str | None:
    return message.call.caller.id if message.call else None


def _callee(message: Message) -> str | None:
    return message.call.callee.id if message.call else None


def _subject(message: Message) -> str | None:
    return message.subject.id if message.subject else None


FIELDS: Final[Mapping[str, Callable[[Message], str | None]]] = {
    "category": attrgetter("category"),
    "type": attrgetter("type"),
    "action": attrgetter("action"),
    "sender": attrgetter("sender.id"),
    "receiver": attrgetter("receiver.id"),
    "receiver_type": attrgetter("receiver_type"),
    "role": attrgetter("sender.role"),
    "conversation": attrgetter("conversation_id"),
    "moderation": attrgetter("moderation"),
    "caller": _caller,
    "callee": _callee,
    "subject": _subject,
}

IDS: Final = frozenset({"sender", "receiver", "role", "conversation", "caller", "callee", "subject"})
"""Compared in lower case, to which CometChat forces uids."""


class Field(Condition, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """A plain field is one of some values, in which * and ? are wild."""

    COST: ClassVar[int] = 0

    name: str
    values: tuple[str, ...]

    def describe(self) -> str:
        return f"{self.name.replace('_', ' ')} {words_said(self.values)}"

    def compile(self) -> Test:
        get = FIELDS[self.name]
        folds = self.name in IDS
        values = [value.lower() if folds else value for value in self.values]
        if any(map(is_glob, values)):
            wanted = globs(values)
            if folds:
                return lambda message, _watch: (found := get(message)) is not None and wanted(found.lower())
            return lambda message, _watch: (found := get(message)) is not None and wanted(found)
        exact = frozenset(values)
        if folds:
            return lambda message, _watch: (get(message) or "").lower() in exact
        return lambda message, _watch: get(message) in exact

    @property
    def is_interest(self) -> bool:
        """Whether `interest` says all that the condition says."""
        return self.name in ("category", "type") and not any(map(is_glob, self.values))

    def interest(self) -> Interest:
        if any(map(is_glob, self.values)) and self.name in ("category", "type"):
            return ANYTHING
        match self.name:
            case "category":
                return Interest(categories=frozenset(self.values))
            case "type":
                return Interest(types=frozenset(self.values))
            case "caller" | "callee":
                return Interest(categories=frozenset({"call"}))
            case _:
                return ANYTHING


class Tags(Condition, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """One of the message's tags is one of some values."""

    values: tuple[str, ...]

    def describe(self) -> str:
        return f"tag {words_said(self.values)}"

    def compile(self) -> Test:
        wanted = globs([value.lower() for value in self.values])
        return lambda message, _watch: any(wanted(tag.lower()) for tag in message.tags)


# --- yes or no --------------------------------------------------------------------------------------


def _is_edited(message: Message) -> bool:
    return message.edited_at is not None or (message.action == "edited" and message.category == "action")


def _is_deleted(message: Message) -> bool:
    return message.deleted_at is not None or (message.action == "deleted" and message.category == "action")


def _is_reply(message: Message) -> bool:
    return message.parent_id is not None


FLAGS: Final[Mapping[str, tuple[Callable[[Message], bool], str, str]]] = {
    "edited": (_is_edited, "an edit", "no edit"),
    "deleted": (_is_deleted, "a deletion", "no deletion"),
    "thread_reply": (_is_reply, "a reply in a thread", "no thread it replies in"),
}


class Flag(Condition, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """The message was edited, deleted or is a thread reply, or is not."""

    name: str
    wanted: bool

    def describe(self) -> str:
        _, yes, no = FLAGS[self.name]
        return yes if self.wanted else no

    def compile(self) -> Test:
        is_so, wanted = FLAGS[self.name][0], self.wanted
        return lambda message, _watch: is_so(message) is wanted


# --- who concerns whom ------------------------------------------------------------------------------


def is_outbound(message: Message, watch: WatchSet) -> bool:
    """Whether a watched user speaks; of a call row, whether a watched user calls."""
    source = message.call.caller if message.call else message.sender
    return source.id.lower() in watch


def is_inbound(message: Message, watch: WatchSet) -> bool:
    """Whether a watched user other than the speaker is spoken to.

    Who is in a group is not known: a group's row is inbound unless a watched user sent it.
    """
    ends = (message.call.caller, message.call.callee) if message.call else (message.sender, message.receiver)
    source, target = ends[0].id.lower(), ends[1].id.lower()
    if message.receiver_type == "group":
        return source not in watch
    return target != source and target in watch


class Direction(Condition, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """Relative to the watch set: inbound or outbound. Between two watched users a message is both."""

    way: str

    def describe(self) -> str:
        return "a watched receiver" if self.way == "inbound" else "a watched sender"

    def compile(self) -> Test:
        return is_inbound if self.way == "inbound" else is_outbound


def _mentions_watched(message: Message, watch: WatchSet) -> bool:
    return any(uid in watch for uid in message.mentions)


def _mentions_all(message: Message, _watch: WatchSet) -> bool:
    return message.mentions_all


def _mentions_anyone(message: Message, _watch: WatchSet) -> bool:
    return bool(message.mentions) or message.mentions_all


MENTIONED: Final[Mapping[str, tuple[Test, str]]] = {
    "watched": (_mentions_watched, "a watched user"),
    "all": (_mentions_all, "everyone (@all)"),
    "anyone": (_mentions_anyone, "anyone"),
}


class Mentions(Condition, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """Somebody is mentioned: a watched user, given users, a whole group (`@all`), or anyone at all."""

    who: tuple[str, ...] = ()
    users: tuple[str, ...] = ()

    def describe(self) -> str:
        return "a mention of " + words_said([*(MENTIONED[who][1] for who in self.who), *self.users])

    def compile(self) -> Test:
        tests = [MENTIONED[who][0] for who in self.who]
        if self.users:
            wanted = globs([uid.lower() for uid in self.users])
            tests.append(lambda message, _watch: any(map(wanted, message.mentions)))
        return either(tests)


# --- text -------------------------------------------------------------------------------------------

# RE2's own \b knows ASCII only, and a word may begin with "ü".
WORD_START: Final = r"(?:\A|[^\pL\pM\pN_])"
WORD_END: Final = r"(?:\z|[^\pL\pM\pN_])"


class TextMatch(Condition, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """The text or caption contains one of some words, parts of words, or matches of RE2 expressions.

    Words and parts are found in any case and in composed or decomposed spelling.
    """

    COST: ClassVar[int] = 3

    words: tuple[str, ...] = ()
    contains: tuple[str, ...] = ()
    patterns: tuple[str, ...] = ()

    def describe(self) -> str:
        said = [f'the word "{word}"' for word in self.words]
        said += [f'"{part}" in the text' for part in self.contains]
        return words_said(said + [f"text like /{pattern}/" for pattern in self.patterns])

    def compile(self) -> Test:
        searches = list(self._searches())
        only = searches[0] if len(searches) == 1 else None

        def test(message: Message, _watch: WatchSet) -> bool:
            if not message.text:
                return False
            text = searched(message.text)
            if only is not None:
                return only(text) is not None
            return any(search(text) is not None for search in searches)

        return test

    def _searches(self) -> Iterator[Callable[[bytes], Any]]:
        """All words in one expression and all parts in another: one pass each over a text."""
        if self.words:
            yield regex(f"(?is){WORD_START}(?:{alternatives(self.words)}){WORD_END}").search
        if self.contains:
            yield regex(f"(?is){alternatives(self.contains)}").search
        limit = reach(self.patterns)
        for search in [regex(pattern).search for pattern in self.patterns]:
            yield search if limit >= 4 * TEXT_LIMIT else _within(search, limit)


def _within(search: Callable[[bytes], Any], limit: int) -> Callable[[bytes], Any]:
    return lambda text: search(text[:limit])


def alternatives(phrases: Sequence[str]) -> str:
    r"""The phrases as one expression; a space in them stands for any white space."""
    composed = (unicodedata.normalize("NFC", phrase) for phrase in phrases)
    return "|".join(r"[\s\pZ]+".join(map(re2.escape, phrase.split())) for phrase in composed)


def searched(text: str) -> bytes:
    """A text as expressions see it: composed letters, UTF-8, at most `TEXT_LIMIT` characters."""
    text = text[:TEXT_LIMIT]
    return encoded(text if text.isascii() else unicodedata.normalize("NFC", text))


# --- metadata ---------------------------------------------------------------------------------------


class Metadata(Condition, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """A path inside `data.metadata` (or `data.customData`) exists, or holds one of some values."""

    COST: ClassVar[int] = 3

    where: str  #: metadata or custom
    path: tuple[str, ...]
    equals: tuple[Any, ...] = ()
    exists: bool = True

    def describe(self) -> str:
        named = f"{self.where} {'.'.join(self.path)}"
        if self.equals:
            return f"{named} equal to {words_said([str(value) for value in self.equals])}"
        return named if self.exists else f"no {named}"

    def compile(self) -> Test:
        get, path, exists = attrgetter(self.where), self.path, self.exists
        wanted = frozenset(map(_typed, self.equals))

        def test(message: Message, _watch: WatchSet) -> bool:
            found = dig(get(message), path)
            if wanted:
                return _typed(found) in wanted
            return (found is not ABSENT) is exists

        return test


ABSENT: Final = object()


def dig(tree: Any, path: Sequence[str]) -> Any:
    """What stands at `path` in a JSON tree, or `ABSENT`; a number picks from a list."""
    for step in path:
        if isinstance(tree, Mapping):
            tree = tree.get(step, ABSENT)
        elif isinstance(tree, list | tuple) and step.isdecimal() and int(step[:9]) < len(tree):
            tree = tree[int(step[:9])]
        else:
            return ABSENT
    return tree


def _typed(value: Any) -> tuple[str, Any]:
    """Comparable across JSON types: Python holds True == 1, JSON does not. Trees equal nothing."""
    if isinstance(value, bool):
        return ("bool", value)
    if isinstance(value, int | float):
        return ("number", value)
    return ("text", value) if isinstance(value, str) else ("other", None if value is None else id(value))


# --- attachments ------------------------------------------------------------------------------------


class Attachments(Condition, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """The message has an attachment that meets every given condition, or with `wanted` false has none.

    An attachment whose size the API does not tell meets no size condition.
    """

    wanted: bool = True
    types: tuple[str, ...] = ()
    extensions: tuple[str, ...] = ()  #: lower case, without the dot
    mime_types: tuple[str, ...] = ()  #: lower case, `image/*` too
    min_size: int | None = None
    max_size: int | None = None

    def describe(self) -> str:
        if not self.wanted:
            return "no attachment"
        said = [words_said(named) for named in (self.types, self.extensions, self.mime_types) if named]
        said += [f"at least {self.min_size} bytes"] if self.min_size is not None else []
        said += [f"at most {self.max_size} bytes"] if self.max_size is not None else []
        return f"an attachment ({', '.join(said)})" if said else "an attachment"

    @property
    def is_detailed(self) -> bool:
        """Whether it asks for more than that there is one."""
        return next(self._checks(), None) is not None

    def compile(self) -> Test:
        checks = list(self._checks())
        if not checks:
            wanted = self.wanted
            return lambda message, _watch: bool(message.attachments) is wanted
        return lambda message, _watch: any(
            all(check(found, message) for check in checks) for found in message.attachments
        )

    def _checks(self) -> Iterator[Callable[[Attachment, Message], bool]]:
        if self.types:
            types = frozenset(self.types)
            yield lambda found, message: file_type(found, message) in types
        if self.extensions:
            extension = globs(self.extensions)
            yield lambda found, _: extension((found.extension or "").lower())
        if self.mime_types:
            mime = globs(self.mime_types)
            yield lambda found, _: mime((found.mime_type or "").partition(";")[0].strip().lower())
        if self.min_size is not None or self.max_size is not None:
            least, most = self.min_size or 0, self.max_size
            yield (
                lambda found, _: (
                    found.size is not None and found.size >= least and (most is None or found.size <= most)
                )
            )


def file_type(attachment: Attachment, message: Message) -> str:
    """image, video, audio or file: by the MIME type, or else by the message's own type."""
    if attachment.mime_type:
        major = attachment.mime_type.partition("/")[0].strip().lower()
        return major if major in FILE_TYPES else "file"
    return message.type if message.type in FILE_TYPES else "file"


# --- all, any, not ----------------------------------------------------------------------------------


class AllOf(Condition, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """Every condition holds. Without any it always holds."""

    COST: ClassVar[int] = 2

    conditions: tuple[Condition, ...]

    def describe(self) -> str:
        return ", and ".join(bracketed(part, AnyOf) for part in self.conditions) or "anything"

    def compile(self) -> Test:
        return every([condition.compile() for condition in sorted(self.conditions, key=cost)])

    def interest(self) -> Interest:
        met = ANYTHING
        for condition in self.conditions:
            other = condition.interest()
            met = Interest(_both(met.categories, other.categories), _both(met.types, other.types))
        return met

    def parts(self) -> Iterator[Condition]:
        yield self
        for condition in self.conditions:
            yield from condition.parts()


class AnyOf(Condition, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """At least one condition holds."""

    COST: ClassVar[int] = 2

    conditions: tuple[Condition, ...]

    def describe(self) -> str:
        return " or ".join(bracketed(part, AllOf) for part in self.conditions)

    def compile(self) -> Test:
        return either([condition.compile() for condition in sorted(self.conditions, key=cost)])

    def interest(self) -> Interest:
        """What some part may hold for; categories and types widen apart, which errs on the safe side."""
        return either_interest([condition.interest() for condition in self.conditions])

    def parts(self) -> Iterator[Condition]:
        yield self
        for condition in self.conditions:
            yield from condition.parts()


class Not(Condition, frozen=True, kw_only=True, tag=True, tag_field="is"):
    """The condition does not hold."""

    COST: ClassVar[int] = 2

    condition: Condition

    def describe(self) -> str:
        return f"not {bracketed(self.condition, AllOf, AnyOf)}"

    def compile(self) -> Test:
        test = self.condition.compile()
        return lambda message, watch: not test(message, watch)


def bracketed(part: Condition, *loose: type[Condition]) -> str:
    """The words of `part`, in brackets if it joins several and would be misread without."""
    said = part.describe()
    joins = isinstance(part, AllOf | AnyOf) and len(part.conditions) > 1 and isinstance(part, loose)
    return f"({said})" if joins else said


def beyond_interest(condition: Condition) -> Condition:
    """What is left to ask of a message that lies in the condition's interest: the index asked the rest."""
    parts = condition.conditions if isinstance(condition, AllOf) else (condition,)
    left = tuple(part for part in parts if not (isinstance(part, Field) and part.is_interest))
    return left[0] if len(left) == 1 else AllOf(conditions=left)


def either_interest(parts: Sequence[Interest]) -> Interest:
    """What a rule is after that looks at the messages of each part: at two conditions, say."""
    return Interest(
        _union([part.categories for part in parts]),
        _union([part.types for part in parts]),
        _union([part.keys for part in parts]),
    )


def _both(a: frozenset[str] | None, b: frozenset[str] | None) -> frozenset[str] | None:
    return a if b is None else b if a is None else a & b


def _union(sets: Sequence[frozenset[K] | None]) -> frozenset[K] | None:
    known = [one for one in sets if one is not None]
    return frozenset().union(*known) if len(known) == len(sets) else None


def cost(condition: Condition) -> int:
    """What to ask first."""
    return condition.COST


def every(tests: Sequence[Test]) -> Test:
    """All of the tests, in order; the short forms save a loop per message."""
    match tests:
        case []:
            return always
        case [one]:
            return one
        case [one, two]:
            return lambda message, watch: one(message, watch) and two(message, watch)
        case [one, two, three]:
            return lambda message, watch: (
                one(message, watch) and two(message, watch) and three(message, watch)
            )
        case [one, two, three, *others]:
            rest = every(others)
            return lambda message, watch: (
                one(message, watch) and two(message, watch) and three(message, watch) and rest(message, watch)
            )
    raise AssertionError("a sequence has no other form")


def either(tests: Sequence[Test]) -> Test:
    """At least one of the tests, in order."""
    match tests:
        case [one]:
            return one
        case [one, two]:
            return lambda message, watch: one(message, watch) or two(message, watch)
        case _:
            return lambda message, watch: any(test(message, watch) for test in tests)
