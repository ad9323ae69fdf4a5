"""What is shown of a stored state: how it changed, in few words, and without what people wrote."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rules.tracing import cut

PRIVATE: Final = ("text", "name", "url", "metadata", "custom")
"""Keys of messages under which stands what people, or their apps, wrote."""

# The strings of JSON; a state that was cut may end inside one. Also found in text that can't be parsed.
_WRITTEN: Final = re.compile(rf'"({"|".join(PRIVATE)})":"((?:[^"\\]|\\.)*)("|\\?$)', re.DOTALL)

MOST: Final = 200  # characters of one value


def without_text(state: str) -> str:
    """The JSON of a state with lengths in the place of texts, names and links."""
    return _WRITTEN.sub(lambda found: f'"{found[1]}":"({len(found[2])} characters)"', state)


def changes(before: str | None, after: str | None) -> tuple[str, ...]:
    """What became another in a state, part by part; states are JSON, and may have been cut."""
    if after is None:
        return ("it is forgotten",)
    try:
        old, new = ({} if before is None else json.loads(before)), json.loads(after)
    except ValueError:
        return (f"{len(before or '')} characters before, {len(after)} after: too long to be compared",)
    if not isinstance(old, Mapping) or not isinstance(new, Mapping):
        return (f"{_brief(old)} -> {_brief(new)}",)
    return tuple(_changed(old, new)) or ("it is as it was",)


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for name in dict.fromkeys((*old, *new)):
        was, now = old.get(name), new.get(name)
        if was == now:
            continue
        if isinstance(now, list) and isinstance(was, list | None):
            added = [one for one in now if one not in (was or ())]
            yield f"{name}: {len(was or ())} -> {len(now)}" + (f", new {_brief(added)}" if added else "")
        else:
            yield f"{name}: {_brief(was)} -> {_brief(now)}"


def _brief(value: Any) -> str:
    if value is None:
        return "nothing"
    return cut(json.dumps(value, ensure_ascii=False, separators=(",", ":")), MOST)
