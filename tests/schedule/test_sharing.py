"""Several processes on one key, none of which sees the others: equal parts, few refusals, all of it used."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field
from typing import NamedTuple

import pytest

from monitor.schedule.budget import Budget

LATENCY_S = 0.1


class Answer(NamedTuple):
    """Whether the request is taken, what then remains, and seconds until it is full again."""

    is_taken: bool
    remaining: int
    reset_in: float


@dataclass
class Key:
    """A quota of `limit` in each minute by the clock, as the API keeps it; a real one may also roll."""

    limit: int
    rolls: bool = False
    taken: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)

    def ask(self, now: float) -> Answer:
        began = now - 60.0 if self.rolls else now - now % 60.0
        recent = [at for at in self.taken[-self.limit :] if at >= began]
        reset_in = 60.0 if self.rolls else 60.0 - now % 60.0
        if len(recent) >= self.limit:
            self.refused.append(now)
            return Answer(False, 0, min(recent) + 60.0 - now if self.rolls else reset_in)
        self.taken.append(now)
        return Answer(True, self.limit - len(recent) - 1, reset_in)


@dataclass
class Client:
    """A process as greedy as its budget lets it be. It reads the headers, or knows refusals alone."""

    budget: Budget
    reads_headers: bool
    starts: float = 0.0
    taken: list[float] = field(default_factory=list)
    paused_until: float = 0.0

    def hear(self, answer: Answer, *, limit: int, now: float) -> None:
        if self.reads_headers:
            told = round(answer.reset_in)
            self.budget.learn(limit=limit, remaining=answer.remaining, reset_in=told, now=now)
        if not answer.is_taken:
            self.budget.refused(now)
            self.paused_until = now + answer.reset_in


def run(key: Key, clients: list[Client], *, minutes: int) -> None:
    """Let all of them ask for what their budgets grant."""
    turns = [(client.starts, number) for number, client in enumerate(clients)]
    heapq.heapify(turns)
    answers: list[tuple[float, int, Answer]] = []
    while turns[0][0] < 60.0 * minutes:
        now, number = heapq.heappop(turns)
        while answers and answers[0][0] <= now:
            at, whose, answer = heapq.heappop(answers)
            clients[whose].hear(answer, limit=key.limit, now=at)
        client = clients[number]
        wait = max(client.budget.wait(now), client.paused_until - now)
        if wait > 0:
            # No longer than until the next answer: it may change the wait.
            heapq.heappush(turns, (now + min(max(wait, 1e-3), LATENCY_S), number))
            continue
        client.budget.take(now)
        heapq.heappush(answers, (now + LATENCY_S, number, answer := key.ask(now)))
        if answer.is_taken:
            client.taken.append(now)
        heapq.heappush(turns, (now, number))


def clients(number: int, *, per_minute: int, share: float, reads_headers: bool) -> list[Client]:
    made = (Budget(per_minute=per_minute, now=0.0, share=share) for _ in range(number))
    return [Client(budget, reads_headers, starts=7.0 * place) for place, budget in enumerate(made)]


def spent(ours: list[Client], *, since: float) -> list[int]:
    return [sum(at >= since for at in client.taken) for client in ours]


@pytest.mark.parametrize(("number", "share"), [(2, 0.5), (3, 1.0), (5, 0.5), (5, 1.0)])
def test_who_reads_the_headers_is_never_refused(number: int, share: float) -> None:
    key = Key(limit=300)
    ours = clients(number, per_minute=300, share=share, reads_headers=True)
    run(key, ours, minutes=8)
    parts = spent(ours, since=120.0)
    assert key.refused == []
    assert sum(parts) >= 0.9 * 300 * 6
    assert min(parts) >= 0.9 * max(parts)


@pytest.mark.parametrize(("number", "rolls"), [(2, False), (5, False), (3, True)])
def test_who_knows_refusals_alone_gets_an_equal_part_without_a_storm(number: int, *, rolls: bool) -> None:
    key = Key(limit=300, rolls=rolls)
    ours = clients(number, per_minute=240, share=1.0, reads_headers=False)
    run(key, ours, minutes=30)
    parts = spent(ours, since=600.0)
    refused = sum(at >= 600.0 for at in key.refused)
    assert refused <= number * 20 / 2  # one in two minutes each; 240 requests a minute go on trying
    assert sum(parts) >= 0.8 * 300 * 20
    assert min(parts) >= 0.6 * max(parts)


def test_alone_on_the_key_exactly_the_share_is_used() -> None:
    key = Key(limit=300)
    ours = clients(1, per_minute=300, share=0.5, reads_headers=True)
    run(key, ours, minutes=6)
    assert spent(ours, since=60.0)[0] == pytest.approx(150 * 5, rel=0.01)


@pytest.mark.parametrize("share", [0.2, 0.5])
def test_what_is_not_our_share_is_there_for_the_product(share: float) -> None:
    """It takes all of that without looking at headers or at us."""
    key = Key(limit=300)
    theirs = round(300 * (1 - share))
    product = clients(1, per_minute=theirs, share=1.0, reads_headers=False)
    ours = clients(1, per_minute=300, share=share, reads_headers=True)
    run(key, [*product, *ours], minutes=8)
    assert key.refused == []
    assert spent(product, since=60.0)[0] == pytest.approx(theirs * 7, rel=0.01)
    assert spent(ours, since=60.0)[0] >= 0.9 * 300 * share * 7
