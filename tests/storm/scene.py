"""What is written and when: which alerts it makes is known beforehand, not computed by a rule."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Final

from monitor.delivery.policy import RouteSpec
from monitor.evaluation import Orders
from rules.model import Message, MessageId, Party, UserId
from tests.rules.builders import BOB, a_message, rules_of

KINDS: Final = 20
WITHIN_S: Final = 600.0  # a question is an alert when it is so old
GOES_ON_S: Final = 600.0  # what still fires when the outage is over is answered so long after it
RECEIVERS: Final = ("oncall", "bot", "hook")
HISTORY_H: Final = 48
PAST: Final = 10_000_000  # the first id of what was said before the start

_EVENTS: Final = "".join(
    f"  - {{name: event-{n}, severity: {'critical' if n == 0 else 'warning' if n % 2 else 'info'}, "
    f"when: {{type: kind{n}}}}}\n"
    for n in range(KINDS)
)
RULES: Final = f"""
rules:
{_EVENTS}
  - name: waiting
    kind: unanswered
    severity: warning
    when: {{type: question}}
    answer_from: receiver
    within: {WITHIN_S / 60:.0f}m
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """So many alerts, spread evenly over so many seconds from `began` on.

    One in five lasts: a question that nobody answers in time. All of them but `still` are answered before
    `over_s` and half an hour have passed, or the outage is over; the rest ten minutes later.
    """

    name: str
    alerts: int
    over_s: float
    still: int = 0  #: fire on when the outage is over
    outage_s: float = 0.0  #: no receiver takes anything from the beginning on
    is_known: bool = False  #: rules have a past, by which a surge is known
    critical: float = 0.01
    lasting: float = 0.2
    seed: int = 1
    most_messages: int = 40  #: that people may get of it

    @property
    def began(self) -> float:
        """Seconds of the first alert, from the start."""
        return WITHIN_S

    @property
    def settled(self) -> float:
        """When all that was asked is answered, but for what goes on."""
        return self.began + max(self.over_s, self.outage_s) + (0 if self.outage_s else 1800)

    @property
    def end(self) -> float:
        return self.settled + 1200

    @property
    def aftermath_s(self) -> float:
        """So long after the beginning, or after the outage, people's messages are counted."""
        return GOES_ON_S if self.outage_s else 1800.0


def orders() -> Orders:
    return Orders(
        rules=rules_of(RULES),
        watch={UserId("bob"): {}},
        routes=(RouteSpec(receivers=RECEIVERS),),
        max_age=timedelta(days=3),
    )


def script(scene: Scene, start: datetime) -> list[tuple[float, Message]]:
    """Every message and the seconds after the start at which it is written, in order."""
    said = sorted(_said(scene), key=lambda one: one[0])
    return [
        (at, _message(number, kind, who, start + timedelta(seconds=at)))
        for number, (at, kind, who) in enumerate(said, 1)
    ]


def past(start: datetime) -> list[Message]:
    """Two quiet days before the start, with an alert an hour of every kind."""
    said = ((hour, f"kind{number}") for hour in range(HISTORY_H, 0, -1) for number in range(KINDS))
    return [
        _message(PAST + number, kind, "ann", start - timedelta(hours=hour))
        for number, (hour, kind) in enumerate(said)
    ]


Said = tuple[float, str, str]  # when, the kind of message, the customer


def _said(scene: Scene) -> Iterator[Said]:
    random = Random(scene.seed)
    lasting = round(scene.alerts * scene.lasting)
    critical = round(scene.alerts * scene.critical)
    for number in range(scene.alerts):
        at = scene.began + scene.over_s * random.random()
        if number < lasting:
            yield from _question(scene, number, at, random)
        else:
            kind = 0 if number < lasting + critical else random.randrange(1, KINDS)
            yield at, f"kind{kind}", "ann"


def _question(scene: Scene, number: int, at: float, random: Random) -> Iterator[Said]:
    customer = f"customer{number}"
    yield at - WITHIN_S, "question", customer
    if number < scene.still:
        yield scene.settled + GOES_ON_S, "answer", customer
    else:
        yield random.uniform(min(at + 60, scene.settled), scene.settled), "answer", customer


def _message(number: int, kind: str, customer: str, at: datetime) -> Message:
    them = Party(id=customer, name=customer.title(), role="customer")
    sender, receiver = (BOB, them) if kind == "answer" else (them, BOB)
    return a_message(
        id=MessageId(number),
        type=kind,
        sender=sender,
        receiver=receiver,
        conversation_id=f"bob_user_{customer}",
        sent_at=at,
        text="x" * 200,
    )
