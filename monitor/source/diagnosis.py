"""What a few answers of the API tell about how it behaves for this app. Pure.

A `Look` is what one request showed, without a word of any message. `conclude` makes facts of them; what the
looks don't prove is answered "unknown", with what would prove it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from monitor.source import showing
from monitor.source.facts import (
    FEW,
    SAMPLE,
    UNKNOWN,
    Fact,
    Looks,
    fact_of,
    has_more,
    pivot_of,
    time_of,
)
from monitor.source.looks import Seen

# --- the questions ----------------------------------------------------------------------------------------
# Each takes all looks and answers one question; looks that were not made are absent.


def conclude(looks: Looks) -> tuple[Fact, ...]:
    """Every fact, known or not."""
    return tuple(question(looks) for question in QUESTIONS)


def key_scope(looks: Looks) -> Fact:
    listing, user = looks.get("newest"), looks.get("user")
    first = listing or user
    errors = " ".join(look.error or "" for look in (user, listing) if look)
    if first is None:
        answer, meaning = UNKNOWN, "nothing was asked"
    elif "BadKey" in errors:
        answer = "wrong"
        meaning = "nothing works: give the REST API key of this app and region (dashboard: API & Auth Keys)"
    elif listing and listing.is_answered:
        answer, meaning = "fullAccess", "the key may list messages: all we need"
    elif "NoAccess" in errors:
        answer = "authOnly"
        meaning = "the key only logs users in: make one with scope fullAccess (the REST API key)"
    elif "UnknownUser" in errors:
        answer, meaning = (
            f"{UNKNOWN}, but the key is accepted",
            "no such user: choose a uid that has messages",
        )
    else:
        answer, meaning = UNKNOWN, "no answer could be judged: see the evidence"
    return fact_of("key_scope", "What may the key do?", answer, meaning, user, listing)


def row_order(looks: Looks) -> Fact:
    pages = [look for look in looks.values() if len(look.ids) > 1]
    backwards = [look for look in pages if look.ids != tuple(sorted(look.ids))]
    if not pages:
        answer, meaning = UNKNOWN, "needs a user with two messages; we sort every page ourselves"
    elif not backwards:
        answer, meaning = "ascending", "as expected: oldest first"
    elif all(look.ids == tuple(sorted(look.ids, reverse=True)) for look in backwards):
        answer, meaning = "descending, at least for some", "harmless: we sort every page ourselves"
    else:
        answer, meaning = "none", "harmless: we sort every page ourselves"
    return fact_of(
        "row_order", "In what order do rows stand in a page?", answer, meaning, *(backwards or pages)[:2]
    )


def append_excludes(looks: Looks) -> Fact:
    return _excludes(looks, "append", "rows after the cursor never come twice", "append_id")


def prepend_excludes(looks: Looks) -> Fact:
    return _excludes(looks, "prepend", "paging back never shows a row twice", "prepend_id")


def user_all_append_excludes(looks: Looks) -> Fact:
    return _excludes(
        looks, "all_append", "rows after the cursor never come twice in user-all", "user_all_append_id"
    )


def _excludes(looks: Looks, name: str, gain: str, fact: str) -> Fact:
    look = looks.get(name)
    affix = "prepend" if name == "prepend" else "append"
    question = f"Does {affix} with an id leave out the row of that id{_where(name)}?"
    pivot = pivot_of(look)
    if look is None or pivot is None or not look.is_answered:
        return fact_of(fact, question, UNKNOWN, "needs a user with messages; we skip known ids anyway", look)
    wrong = [id_ for id_ in look.ids if (id_ < pivot if affix == "append" else id_ > pivot)]
    if wrong:
        meaning = "the cursor does not work here: keep to another source and report it"
        return fact_of(fact, question, "the id is not heeded", meaning, look)
    if pivot in look.ids:
        return fact_of(fact, question, "no, it comes again", "harmless: we skip known ids", look)
    return fact_of(fact, question, "yes", gain, look)


def append_continues(looks: Looks) -> Fact:
    """A page after an id has to hold the next rows, not the newest: else a gap would be skipped."""
    look, newest = looks.get("append"), looks.get("newest")
    question = "Are the rows after an id the next ones?"
    pivot = pivot_of(look)
    if look is None or newest is None or pivot is None or len(look.ids) == 0:
        return fact_of("append_next", question, UNKNOWN, "needs a user with more messages", look)
    later = sorted(id_ for id_ in newest.ids if id_ > pivot)
    got = sorted(id_ for id_ in look.ids if id_ != pivot)
    if len(later) <= len(got):
        return fact_of("append_next", question, UNKNOWN, "needs a user with more messages", look)
    if got == later[: len(got)]:
        return fact_of("append_next", question, "yes", "catching up skips nothing", look)
    meaning = "catching up would skip rows: set poll.page_size to 1000 and report it"
    return fact_of("append_next", question, "no", meaning, look)


def page_size_honoured(looks: Looks) -> Fact:
    per_page, limit, default = looks.get("per_page"), looks.get("limit"), looks.get("default_size")
    question = "Which parameter sets the page size?"
    tried = [look for look in (per_page, limit, default) if look]
    if per_page is None or limit is None or not has_more(looks, FEW):
        meaning = f"needs a user with more than {FEW} messages; we send both"
        return fact_of("page_size", question, UNKNOWN, meaning, *tried)
    heeded = [name for name, look in (("perPage", per_page), ("limit", limit)) if len(look.rows) == FEW]
    usual = f"; without either: {len(default.rows)} rows" if default and default.is_answered else ""
    answer = f"{' and '.join(heeded) or 'none'}{usual}"
    if heeded:
        return fact_of("page_size", question, answer, "we send both, so our size counts", *tried)
    meaning = "we end a drain by the size that the server echoes, or by an empty page"
    return fact_of("page_size", question, answer, meaning, *tried)


def largest_page(looks: Looks) -> Fact:
    look = looks.get("thousand")
    question = "Is a page of 1,000 given?"
    if look is None:
        return fact_of("largest_page", question, UNKNOWN, "was not asked", look)
    if not look.is_answered:
        meaning = "catching up after an outage fails with pages of 1,000: report it"
        return fact_of("largest_page", question, "no, refused", meaning, look)
    told = look.size or len(look.rows)
    if len(look.rows) > SAMPLE or told >= 1000:
        return fact_of("largest_page", question, f"yes ({len(look.rows)} rows)", "catching up is quick", look)
    if look.size is not None:
        meaning = "catching up takes more requests; nothing is lost"
        return fact_of("largest_page", question, f"no, cut to {look.size}", meaning, look)
    return fact_of("largest_page", question, UNKNOWN, f"needs a user with more than {SAMPLE} messages", look)


def meta_shape(looks: Looks) -> Fact:
    shown = [look for name in ("newest", "all_newest") if (look := looks.get(name)) and look.is_answered]
    question = "What does the answer tell about its page?"
    if not shown:
        return fact_of("meta", question, UNKNOWN, "no page was read", looks.get("newest"))
    answer = "; ".join(
        f"{'user-all' if at else 'user'}: {' '.join(look.meta) or 'nothing'}" for at, look in enumerate(shown)
    )
    echo = all(look.size is not None for look in shown)
    meaning = (
        "the page size is echoed: a short page ends a drain"
        if echo
        else "no page size echoed somewhere: there only an empty page ends a drain, one request more"
    )
    return fact_of("meta", question, answer, meaning, *shown)


def append_without_id(looks: Looks) -> Fact:
    return _from_nowhere(looks, "append_without_id", "What does append without an id give?")


def append_from_zero(looks: Looks) -> Fact:
    return _from_nowhere(looks, "append_from_zero", "What does append with id=0 give?")


def no_affix(looks: Looks) -> Fact:
    return _from_nowhere(looks, "no_affix", "What does a request without affix give?")


def _from_nowhere(looks: Looks, name: str, question: str) -> Fact:
    look, newest = looks.get(name), looks.get("newest")
    meaning = "we never rely on it"
    if look is None or newest is None or not newest.is_answered:
        return fact_of(name, question, UNKNOWN, meaning, look)
    if not look.is_answered:
        return fact_of(name, question, "an error", meaning, look)
    if not newest.ids:
        return fact_of(name, question, UNKNOWN, f"needs a user with messages; {meaning}", look)
    if not look.ids:
        return fact_of(name, question, "nothing", meaning, look)
    if not has_more(looks, len(look.ids)):
        return fact_of(name, question, UNKNOWN, f"needs a user with more messages; {meaning}", look)
    is_newest = max(look.ids) >= max(newest.ids)
    return fact_of(name, question, "the newest rows" if is_newest else "the oldest rows", meaning, look)


def rate_headers(looks: Looks) -> Fact:
    spellings = sorted({look.rate_headers for look in looks.values() if look.rate_headers})
    question = "How are the quota headers spelled?"
    some = next(iter(looks.values()), None)
    if not looks:
        return fact_of("rate_headers", question, UNKNOWN, "nothing was asked", some)
    if not spellings:
        meaning = (
            "none on these answers: our own budget (api.requests_per_minute) is all that keeps the quota"
        )
        return fact_of("rate_headers", question, "no such headers", meaning, some)
    return fact_of("rate_headers", question, " and ".join(spellings), "both spellings are read", some)


def clock_skew(looks: Looks) -> Fact:
    question = "How far is the API's clock from ours?"
    answered = [look for look in looks.values() if look.is_answered]
    if not answered:
        return fact_of("clock_skew", question, UNKNOWN, "no answer with a date", None)
    last = answered[-1]  # each answer narrows what the dates prove
    skew = last.skew_s
    if abs(skew) < 0.001:
        return fact_of("clock_skew", question, "the same, as far as dates show", "nothing to correct", last)
    side = "ahead of" if skew > 0 else "behind"
    meaning = (
        "we correct for it"
        if abs(skew) < 60
        else "we correct for it; still, check this machine's time service"
    )
    return fact_of("clock_skew", question, f"{abs(skew):.1f} s {side} ours", meaning, last)


def marks_by_user(looks: Looks) -> Fact:
    return _marks(looks, "newest", "user")


def marks_by_user_all(looks: Looks) -> Fact:
    return _marks(looks, "all_newest", "user-all")


def _marks(looks: Looks, name: str, source: str) -> Fact:
    before, after = looks.get(name), looks.get(f"{name}_again")
    question = f"Does reading {source} mark messages as delivered or read?"
    fact = f"marks_by_{source.replace('-', '_')}"
    if before is None or after is None or not (before.is_answered and after.is_answered):
        return fact_of(fact, question, UNKNOWN, "the list could not be read twice", before, after)
    open_rows = {row.id: row for row in before.rows if row.incoming and not (row.delivered and row.read)}
    if not open_rows:
        meaning = "no unread message to this user: send one while they are offline and ask again"
        return fact_of(fact, question, UNKNOWN, meaning, before)
    changed = [row for row in after.rows if row.id in open_rows and _was_marked(open_rows[row.id], row)]
    if changed:
        meaning = (
            "senders may see ticks because of us, unless the user was online just now: ask again to be sure"
        )
        return fact_of(fact, question, f"yes ({len(changed)} of {len(open_rows)})", meaning, before, after)
    return fact_of(fact, question, f"no (0 of {len(open_rows)})", "our reads leave no trace", before, after)


def _was_marked(before: Seen, after: Seen) -> bool:
    return (after.delivered, after.read) != (before.delivered, before.read)


def mention_filter(looks: Looks) -> Fact:
    return _gated(looks, "has_mentions", "hasMentions", lambda row: row.mentions)


def attachment_filter(looks: Looks) -> Fact:
    return _gated(looks, "has_attachments", "hasAttachments", lambda row: row.attachments)


def _gated(looks: Looks, name: str, parameter: str, fits: Callable[[Seen], bool]) -> Fact:
    look = looks.get(name)
    question = f"Does {parameter} filter (a paid feature)?"
    meaning = "we match messages ourselves and don't need it"
    if look is None:
        return fact_of(name, question, UNKNOWN, meaning, look)
    if not look.is_answered:
        return fact_of(name, question, "no, refused", meaning, look)
    if any(not fits(row) for row in look.rows):
        return fact_of(name, question, "no, ignored", meaning, look)
    return fact_of(name, question, "yes" if look.rows else f"{UNKNOWN}: no row came", meaning, look)


def updates(looks: Looks) -> Fact:
    """Rows that changed in place are below every cursor: only a question by time shows them again."""
    look, newest = looks.get("updates"), looks.get("newest")
    question = "Can rows be asked for that changed after they were sent?"
    if look is None:
        meaning = "needs a user with messages; until then keep poll.updates off"
        return fact_of("updates", question, UNKNOWN, meaning, look)
    if not look.is_answered:
        return fact_of("updates", question, "no, refused", "keep poll.updates off", look)
    since = time_of(look) or 0
    if any(row.updated_at < since for row in look.rows):
        meaning = "the time is not heeded: keep poll.updates off, it would find nothing"
        return fact_of("updates", question, "no, ignored", meaning, look)
    shown = newest.rows if newest else ()
    due = {row.id for row in shown if row.has_changed and row.updated_at > since}
    if due.difference(look.ids):
        meaning = "rows that changed are left out: keep poll.updates off, it would find nothing"
        return fact_of("updates", question, "no, not shown", meaning, newest, look)
    if not due or all(row.updated_at >= since for row in shown):
        meaning = (
            "have two messages, delete or edit the later one, and ask again; until then keep poll.updates off"
        )
        return fact_of("updates", question, UNKNOWN, meaning, newest, look)
    also = "" if all(row.has_changed for row in look.rows) else ", with unchanged ones"
    meaning = "poll.updates lets rules see what moderation, edits and deletions make of a message"
    return fact_of("updates", question, f"yes{also}", meaning, newest, look)


QUESTIONS: Final[Sequence[Callable[[Looks], Fact]]] = (
    key_scope,
    row_order,
    append_excludes,
    append_continues,
    prepend_excludes,
    user_all_append_excludes,
    page_size_honoured,
    largest_page,
    meta_shape,
    *showing.QUESTIONS,
    append_without_id,
    append_from_zero,
    no_affix,
    rate_headers,
    clock_skew,
    marks_by_user,
    marks_by_user_all,
    mention_filter,
    attachment_filter,
    updates,
    showing.recommendation,
)


# --- parts ---


def _where(name: str) -> str:
    return " in user-all" if name.startswith("all_") else ""
