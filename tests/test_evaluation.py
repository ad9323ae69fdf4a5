"""From rows to entries of receivers: who is told that something began is told that it is over."""

from __future__ import annotations

from datetime import timedelta

from monitor.delivery.policy import RouteSpec
from monitor.evaluation import Evaluated, Orders, evaluate
from monitor.store.store import Store
from monitor.store.values import Commit, EntryState
from rules.model import Message, MessageId, Party, Status, Tick, UserId
from tests.rules.builders import ANN, APP, BOB, a_message, after, rules_of

EVE = Party(id="eve")
FLOOD = "rules: [{name: flood, kind: count, within: 10m, at_least: 3, by: []}]"


def orders(rules: str) -> Orders:
    """Ann and Bob are looked after by a team each."""
    return Orders(
        rules=rules_of(rules),
        watch={UserId("ann"): {"team": "a"}, UserId("bob"): {"team": "b"}},
        routes=tuple(RouteSpec(receivers=(f"team-{team}",), match={"team": (team,)}) for team in "ab"),
        max_age=timedelta.max,
    )


def eve_writes(id_: int, to: Party) -> Message:
    room = f"{to.id}_user_eve"
    return a_message(
        id=MessageId(id_), sender=EVE, receiver=to, conversation_id=room, sent_at=after(id_), text="x"
    )


def evaluated(store: Store, given: Orders, *messages: Message, ticks: tuple[Tick, ...] = ()) -> Evaluated:
    with store.write() as tx:
        return evaluate(tx, given, messages=messages, ticks=ticks, now=after(60), commit=Commit())


def test_all_who_heard_that_it_began_hear_that_it_is_over() -> None:
    given = orders(FLOOD)
    with Store.open("sqlite://", app=APP, now=lambda: after(60)) as store:
        evaluated(store, given, eve_writes(1, BOB), eve_writes(2, BOB), eve_writes(3, ANN))
        begun = {entry.receiver for entry in store.entries()}
        # Those shown in the end are the first two and the last three: Ann is not among them.
        evaluated(store, given, *(eve_writes(number, BOB) for number in range(4, 9)))
        ticks = tuple(Tick(key=timer.key, due=timer.due) for timer in store.timers())
        evaluated(store, given, ticks=ticks)
        ends = {
            entry.receiver
            for entry in store.entries()
            if entry.alert.status is Status.RESOLVED and entry.state is EntryState.PENDING
        }
    assert begun == ends == {"team-a", "team-b"}
