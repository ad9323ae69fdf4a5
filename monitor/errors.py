"""Errors by what their reader does next. Each message is written for a tired operator."""

from __future__ import annotations


class CometwatchError(Exception):
    """Base of everything we raise on purpose: shown as one line, without a traceback."""

    exit_code = 1


class ConfigError(CometwatchError):
    """Settings or rules are wrong: mend them and start again (exit code 2)."""

    exit_code = 2


class StoreError(CometwatchError):
    """The store can't be used as it is; nothing was changed and nothing is forgotten."""


class Conflict(CometwatchError):  # noqa: N818 - it is an answer, not a fault
    """The cursor or a rule state moved since it was read: read again and redo. Nothing was written."""


class NotStored(CometwatchError):  # noqa: N818 - an answer as well
    """The store knows no such user, entry, notification or mute: look up the name and ask again."""
