"""What every part of the settings has in common."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from monitor.settings.forms import wrong


class Section(BaseModel):
    """Frozen, without unknown keys, and never quoting a value (it may be a secret) in an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def exactly_one(section: Section, *keys: str) -> None:
    """Refuse a section in which none or several of `keys` are set."""
    given = [key for key in keys if getattr(section, key) is not None]
    if len(given) != 1:
        found = " and ".join(given) or "none of them"
        raise wrong(f"give exactly one of {', '.join(keys)} (found {found})")


def at_most_one(section: Section, *keys: str) -> None:
    """Refuse a section in which all of `keys` are set."""
    if all(getattr(section, key) is not None for key in keys):
        raise wrong(f"give {' or '.join(keys)}, not both")
