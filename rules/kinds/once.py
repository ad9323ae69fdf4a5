"""What the kinds have in common whose alerts tell of something that happened, and so are never over."""

from __future__ import annotations

import dataclasses
from datetime import datetime

from msgspec.structs import replace

from rules.kinds.base import Ruling
from rules.kinds.episodes import Episodic, Story, Told, micros
from rules.model import Tick, WatchSet


class Once(Episodic):
    """A kind whose alerts do not resolve: an episode that is over is only remembered.

    No time needs to pass for that: the newest message tells how far we have seen.
    """

    is_lasting = False

    def judge(
        self, key: str, state: Story, *, tick: Tick | None, watch: WatchSet, now: datetime
    ) -> Ruling[Story]:
        newest = max((micros(message.sent_at) for message in state.fresh), default=0)
        state = replace(state, seen=max(state.seen, newest))
        ruling = super().judge(key, state, tick=tick, watch=watch, now=now)
        return dataclasses.replace(
            ruling,
            state=ruling.state and replace(ruling.state, told=tuple(map(_whole, ruling.state.told))),
            found=tuple(found for found in ruling.found if found.resolution is None),
        )

    def _wait(self, *_: object) -> None:
        """Nothing is due: what there is to tell, a message tells."""

    def end(self, told: Told) -> str:  # noqa: ARG002 - they all end alike
        return "it happened, and is over"


def _whole(one: Told) -> Told:
    """What late rows have added to an episode is told with it, though they may divide it again."""
    is_short = one.closed is not None and one.closed < one.last
    return replace(one, closed=one.last) if is_short else one
