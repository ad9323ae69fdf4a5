"""`cometwatch notify` and `render`: try a receiver, and see what it is sent, before it is needed."""

from __future__ import annotations

import logging
import secrets
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import trio
import typer

from monitor.cli.given import AsJson, given, print_json, rule_named, say
from monitor.clock import Clock
from monitor.configuration import Configuration
from monitor.delivery.outbox import attempt
from monitor.delivery.sinks.base import Delivered, Refused, Settlement
from monitor.errors import ConfigError
from monitor.history.recorded import recorded
from monitor.logs import quietly
from monitor.outlets import Outlets, receiver_of
from monitor.preview import Preview, encoded, previewed
from monitor.rehearsal import in_event_order, rehearse
from monitor.replay import taking_part
from monitor.samples import Sample, alert_of, ended, notification_of, resolved, sample
from monitor.settings.receivers import Receiver
from monitor.store.values import Notification
from rules.engine import Rule, RuleSet
from rules.model import Alert, Status

OVER_AFTER: Final = timedelta(minutes=5)
CONCLUDE: Final = timedelta(days=1)  # after the last message of a recording: what waits has come to its end

NOTIFY_HELP = """Send a made-up alert to a receiver by the real road: the same code, network and secrets.

It is marked as a sample, says that nothing happened, and is not stored. With --resolve its end follows. Ends
with 1 if the receiver does not take it.

Example: cometwatch notify oncall --sample missed-call --resolve
"""
RENDER_HELP = """Show what receivers would be sent of a rule's alert: text, blocks and JSON, to the letter.

The alert is made up from the rule's own words, or is what the rule finds in recorded messages (--message).
Nothing is sent, and no secret is read: words stand in their places.

Example: cometwatch render missed-call --receiver oncall
"""


def register(app: typer.Typer) -> None:
    app.command("notify", help=NOTIFY_HELP)(notify)
    app.command("render", help=RENDER_HELP)(render)


# --- notify -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answered:
    """What a receiver said to one notification."""

    sent: Notification
    settlement: Settlement

    @property
    def plain(self) -> dict[str, Any]:
        outcome = {"notification": self.sent.id, "status": self.sent.status.value}
        match self.settlement:
            case Delivered(receipts=receipts, warning=warning):
                return {**outcome, "outcome": "accepted", "receipts": dict(receipts), "warning": warning}
            case Refused(reason=reason):
                return {**outcome, "outcome": "refused", "reason": reason}
            case failed:
                return {**outcome, "outcome": "not accepted", "reason": failed.reason}


def notify(
    ctx: typer.Context,
    receiver: Annotated[str, typer.Argument(metavar="RECEIVER", help="Its name in the settings.")],
    *,
    what: Annotated[Sample, typer.Option("--sample", help="What to send.")] = Sample.MISSED_CALL,
    resolve: Annotated[bool, typer.Option("--resolve", help="Send its end, too.")] = False,
    as_json: AsJson = False,
) -> None:
    configuration = given(ctx).configuration()
    chosen = receiver_named(configuration, receiver)
    with quietly(logging.CRITICAL):  # what a bug in a sink would log, the answer tells
        answers = trio.run(
            partial(
                _send,
                configuration,
                chosen,
                what,
                resolve=resolve,
                screen=sys.stderr if as_json else sys.stdout,
            )
        )
    if as_json:
        print_json({"receiver": chosen.name, "protocol": chosen.key, "sent": [one.plain for one in answers]})
    else:
        for answer in answers:
            _tell(chosen, answer)
    if not all(isinstance(answer.settlement, Delivered) for answer in answers):
        raise typer.Exit(1)


async def _send(
    configuration: Configuration, receiver: Receiver, what: Sample, *, resolve: bool, screen: Any
) -> list[Answered]:
    clock, app = Clock(), configuration.settings.api.app
    async with Outlets(stream=screen, clock=clock) as outlets:
        sink = outlets.sink(receiver, app=app)
        if what is Sample.SUMMARY and not sink.traits.people:
            raise ConfigError(
                f"{receiver.name} is a machine: it gets every alert, no summaries; --sample group"
            )
        first = sample(
            what,
            receiver=receiver.name,
            app=app,
            token=secrets.token_hex(16),
            link=configuration.rules.link,
            now=clock.wall(),
        )
        answers = [Answered(first, await attempt(sink, receiver_of(receiver), first))]
        taken = answers[0].settlement
        if resolve and isinstance(taken, Delivered):
            last = ended(first, taken.receipts, now=clock.wall())
            answers.append(Answered(last, await attempt(sink, receiver_of(receiver), last)))
        return answers


def _tell(receiver: Receiver, answer: Answered) -> None:
    plain = answer.plain
    what = "the end of the sample" if answer.sent.status is Status.RESOLVED else "the sample"
    head = f"{receiver.name} ({receiver.key}): {what} was {plain['outcome']}"
    if (reason := plain.get("reason")) is not None:
        say(f"{head}: {reason}")
        return
    typer.echo(head)
    if plain["warning"]:
        typer.echo(f"  but: {plain['warning']}")
    typer.echo(f"  notification {answer.sent.id}")
    for subject, receipt in plain["receipts"].items():
        typer.echo(f"  {subject[:12]}: {receipt}")


def receiver_named(configuration: Configuration, name: str) -> Receiver:
    """The receiver that a person names. Raises ConfigError with the nearest name."""
    by_name = {receiver.name: receiver for receiver in configuration.settings.receivers}
    if name not in by_name:
        near = get_close_matches(name, by_name, n=1)
        hint = f'did you mean "{near[0]}"?' if near else f"there are: {', '.join(by_name) or 'none'}"
        raise ConfigError(f'there is no receiver "{name}" ({hint})')
    return by_name[name]


# --- render -----------------------------------------------------------------------------------------


def render(
    ctx: typer.Context,
    rule: Annotated[str, typer.Argument(metavar="RULE", help="As `rules list` shows it.")],
    *,
    receiver: Annotated[list[str] | None, typer.Option(help="Only for this receiver.")] = None,
    message: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Recorded messages that the rule finds something in."),
    ] = None,
    is_over: Annotated[bool, typer.Option("--resolved", help="As it is told when it is over.")] = False,
    as_json: AsJson = False,
) -> None:
    configuration = given(ctx).configuration()
    named = rule_named(configuration.rules, rule)
    chosen = [receiver_named(configuration, name) for name in receiver or ()]
    alert = _found(configuration, named, message) if message else alert_of(named, configuration.rules)
    if is_over:
        alert = resolved(alert, now=alert.first_seen_at + OVER_AFTER)
    with quietly(logging.CRITICAL):
        shown = trio.run(_preview, configuration, chosen or configuration.settings.receivers, alert)
    if as_json:
        print_json({"alert": alert.id, "receivers": shown})
        return
    for one in shown:
        typer.echo(f"--- {one.receiver} ({one.protocol})\n")
        typer.echo(encoded(one) + "\n")
    if not shown:
        say("there is no receiver in the settings")


async def _preview(
    configuration: Configuration, receivers: Sequence[Receiver], alert: Alert
) -> list[Preview]:
    app = configuration.settings.api.app
    return [await previewed(one, notification_of(alert, receiver=one.name), app=app) for one in receivers]


def _found(configuration: Configuration, rule: Rule, files: Sequence[Path]) -> Alert:
    """The last alert that the rule alone finds in recorded messages. Raises ConfigError if it finds none."""
    messages = in_event_order(recorded(files).messages)
    alone = RuleSet(app=configuration.rules.app, rules=[rule])
    alone.link = configuration.rules.link
    orders = configuration.orders
    orders = replace(
        orders, rules=alone, watch={**taking_part(messages), **orders.watch}, max_age=timedelta.max
    )
    until = messages[-1].sent_at + CONCLUDE if messages else None
    found = rehearse(orders, messages, until=until).findings
    firing = [one.alert for one in found if one.alert.rule == rule.name and one.alert.status is Status.FIRING]
    if not firing:
        raise ConfigError(
            f"the rule {rule.name} finds nothing in {', '.join(map(str, files))}; "
            f"`cometwatch backtest` tells what the rules find there"
        )
    return firing[-1]
