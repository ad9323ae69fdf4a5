"""Times and entries in words, as reports of tests show them. Pure."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_never

from monitor.logs import one_line
from monitor.timeline.model import (
    Action,
    Api,
    CallBecomes,
    Delete,
    Edit,
    Jump,
    Member,
    Mute,
    Receivers,
    Reload,
    Restart,
    Ring,
    Say,
)

SHORT = 40  # characters of a text


def offset(seconds: float) -> str:
    """Seconds since the start as people say them: `0s`, `12.5s`, `1m42s`, `1d3h`."""
    sign, rest = ("-" if seconds < 0 else ""), abs(seconds)
    tenths = round(rest * 10)
    days, tenths = divmod(tenths, 864_000)
    hours, tenths = divmod(tenths, 36_000)
    minutes, tenths = divmod(tenths, 600)
    parts = [f"{days}d" if days else "", f"{hours}h" if hours else "", f"{minutes}m" if minutes else ""]
    if tenths or not any(parts):
        parts.append(f"{tenths / 10:g}s")
    return sign + "".join(parts)


def happening(action: Action) -> str:
    """An entry of the timeline in a few words."""
    match action:
        case Say(sender=sender, to=to, text=text, type=type_):
            shown = f'"{_short(text)}"' if text else type_
            return f"{sender} to {to}: {shown}"
        case Ring(caller=caller, to=to, type=type_):
            return f"{caller} calls {to} ({type_})"
        case CallBecomes(status=status, by=by):
            return f"the call is {status}" + (f", by {by}" if by else "")
        case Edit(message=message, text=text):
            return f'"{message.text}" is edited: "{_short(text)}"'
        case Delete(message=message):
            return f'"{message.text}" is deleted'
        case Member(group=group, user=user, joins=joins):
            return f"{user} {'joins' if joins else 'leaves'} {group}"
        case _:
            return _ours(action)


def _ours(action: Api | Receivers | Jump | Restart | Reload | Mute) -> str:
    match action:
        case Api(is_up=is_up):
            return f"CometChat is {'up' if is_up else 'down'}"
        case Receivers(answers=answers):
            return ", ".join(f"{name} is {answer}" for name, answer in answers.items())
        case Jump(by=by):
            return f"our clock is set by {_span(by)}"
        case Restart(down=down):
            return f"the monitor ends{', and is away for ' + _span(down) if down else ' and starts'}"
        case Reload():
            return "other orders take effect"
        case Mute(rule=rule, span=span):
            return f"{rule.text} is muted for {_span(span)}"
        case _:
            assert_never(action)


def _span(span: timedelta) -> str:
    return offset(span.total_seconds())


def _short(text: str) -> str:
    line = one_line(" ".join(text.split()))
    return line if len(line) <= SHORT else f"{line[:SHORT]}…"
