"""The one writer: it groups what many callers want to store into one transaction, one wait for the disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Protocol, TypeVar, TypeVarTuple

import outcome
import trio

from monitor.errors import StoreError

from .store import Store, Tx

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

WAITING: Final = 1_024
"""Most works that wait for their turn; who comes later waits before it is taken in."""


class RunSync(Protocol):
    """How a blocking function is called: in a thread (`trio.to_thread.run_sync`) or, in tests, `inline`."""

    def __call__(self, function: Callable[[*Ts], T], /, *args: *Ts) -> Awaitable[T]: ...


async def inline(function: Callable[[*Ts], T], /, *args: *Ts) -> T:
    """Call `function` here. For a virtual clock, which would jump ahead while a thread is busy."""
    await trio.lowlevel.checkpoint()
    return function(*args)


class _Ticket:
    """One work and, later, what came of it."""

    def __init__(self, work: Callable[[Tx], Any]) -> None:
        self.work = work
        self.done = trio.Event()
        self.result: outcome.Outcome[Any] | None = None

    def settle(self, result: outcome.Outcome[Any]) -> None:
        self.result = result
        self.done.set()


class Writer:
    """Runs works one after the other, up to `max_group` of them in one transaction.

    A work is a function of the transaction. It must be quick, must touch nothing but the transaction, and
    must bear being run again by its caller after a StoreError: it was undone then.

    `observe` is told size and seconds of each group that was stored; `at` names the points just before
    and just after a commit, for tests that end the process there.
    """

    def __init__(
        self,
        store: Store,
        *,
        run_sync: RunSync = trio.to_thread.run_sync,
        at: Callable[[str], None] = lambda _point: None,
        observe: Callable[[int, float], None] = lambda _group_size, _seconds: None,
        max_group: int = 64,
    ) -> None:
        self._store = store
        self._run_sync = run_sync
        self._at = at
        self._observe = observe
        self._max_group = max_group
        self._send, self._receive = trio.open_memory_channel[_Ticket](WAITING)

    async def submit(self, work: Callable[[Tx], T]) -> T:
        """Run `work` in a transaction and return what it returned, once that is on the disk.

        Raises what the work raised (it alone is undone), or StoreError if the transaction could not be stored
        (every work in it is undone) or the writer has stopped. Cancelled: the work may or may not be stored,
        never half of it.
        """
        ticket = _Ticket(work)
        try:
            await self._send.send(ticket)
        except trio.BrokenResourceError as error:
            raise _stopped() from error
        await ticket.done.wait()
        assert ticket.result is not None
        value: T = ticket.result.unwrap()
        return value

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve `submit` until cancelled. A group once begun is finished; who still waits gets StoreError."""
        group: list[_Ticket] = []
        try:
            task_status.started()
            async for first in self._receive:
                group = [first]
                self._gather(group)
                for ticket, result in zip(group, await self._commit(group), strict=True):
                    ticket.settle(result)
        finally:
            self._refuse(group)

    async def _commit(self, group: Sequence[_Ticket]) -> list[outcome.Outcome[Any]]:
        began = trio.current_time()
        try:
            results = await self._run_sync(self._store_group, [ticket.work for ticket in group])
        except StoreError as error:
            return [outcome.Error(_again(error)) for _ in group]
        self._observe(len(group), trio.current_time() - began)
        return results

    def _gather(self, group: list[_Ticket]) -> None:
        try:
            while len(group) < self._max_group:
                group.append(self._receive.receive_nowait())
        except trio.WouldBlock:
            return

    def _refuse(self, group: list[_Ticket]) -> None:
        """Leave nobody waiting for a writer that is gone."""
        waiting = [ticket for ticket in group if ticket.result is None]
        try:
            while True:
                waiting.append(self._receive.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            self._receive.close()
        for ticket in waiting:
            ticket.settle(outcome.Error(_stopped()))

    def _store_group(self, works: Sequence[Callable[[Tx], Any]]) -> list[outcome.Outcome[Any]]:
        """Run all of `works` in one transaction; one that raises is undone alone."""
        with self._store.write() as tx:
            results = [_attempt(tx, work) for work in works]
            self._at("writer.before_commit")
        self._at("writer.committed")
        return results


def _attempt(tx: Tx, work: Callable[[Tx], Any]) -> outcome.Outcome[Any]:
    try:
        with tx.part():
            return outcome.Value(work(tx))
    except StoreError:
        raise  # not this work's fault, and not its alone
    except Exception as error:
        return outcome.Error(error)


def _again(error: StoreError) -> StoreError:
    """The same for each caller: one exception object raised in many tasks would mix their tracebacks."""
    copy = StoreError(*error.args)
    copy.__cause__ = error
    return copy


def _stopped() -> StoreError:
    return StoreError("the store's writer has stopped: the process is ending")
