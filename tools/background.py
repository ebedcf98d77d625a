"""Work in a thread of its own, for hosts that go on meanwhile: its events, its result, and an end from outside."""

import asyncio
import contextlib
import contextvars
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Generic, TypeVar

from .process import Interrupt

__all__ = ["Background", "Cancelled"]

E = TypeVar("E")
T = TypeVar("T")


class Cancelled(Exception):
    """The work was ended from outside before it was done. What it had saved is kept."""


class Background(Generic[E, T]):
    """Work that has begun. Iterate over it, with `for` or `async for`, to meet each event once, in order.

    The iteration ends with the work, and raises what the work raised. Breaking it off ends the looking on, not the
    work: that is what `cancel` does.

    Args:
        work: is called with a function that takes events and with the Interrupt that ends its tool processes.
    """

    def __init__(self, work: Callable[[Callable[[E], None], Interrupt], T], name: str = "tunesmith") -> None:
        self._events: list[E] = []
        self._result: list[T] = []
        self._error: BaseException | None = None
        self._over = False
        self._news = threading.Condition()
        self._wakers: list[Callable[[], None]] = []
        self._interrupt = Interrupt()
        context = contextvars.copy_context()  # the working folder and a framework's callbacks go along
        threading.Thread(target=context.run, args=(self._work, work), name=name, daemon=True).start()

    def _work(self, work: Callable[[Callable[[E], None], Interrupt], T]) -> None:
        try:
            self._result.append(work(self._tell, self._interrupt))
        except BaseException as error:  # noqa: BLE001  # the end of a thread: whoever waits gets it
            self._error = error
        with self._news:
            self._over = True
            self._wake()

    def _tell(self, event: E) -> None:
        with self._news:
            self._events.append(event)
            self._wake()

    def _wake(self) -> None:
        self._news.notify_all()
        for waker in self._wakers:
            with contextlib.suppress(RuntimeError):  # its event loop is closed; nobody waits there any more
                waker()

    @property
    def over(self) -> bool:
        """Whether the work has ended, well or not."""
        return self._over

    def cancel(self) -> None:
        """Ask the work to end and to keep what it has; returns at once. Work that is over stays as it is."""
        self._interrupt.ask()

    def result(self, timeout: float | None = None) -> T:
        """Wait for the end, at most `timeout` seconds, and return what came of the work.

        Raises:
            Cancelled: `cancel` ended it.
            TimeoutError: it still goes on.
            Exception: whatever the work raised.
        """
        with self._news:
            if not self._news.wait_for(lambda: self._over, timeout):
                raise TimeoutError(f"the work still goes on after {timeout:g} s")
        if isinstance(self._error, KeyboardInterrupt):
            raise Cancelled("the work was cancelled; what it had saved is kept") from self._error
        if self._error is not None:
            raise self._error
        return self._result[0]

    def _since(self, position: int) -> tuple[list[E], bool]:
        with self._news:
            return self._events[position:], self._over

    def __iter__(self) -> Iterator[E]:
        position, over = 0, False
        while not over:
            with self._news:
                while len(self._events) == position and not self._over:
                    self._news.wait()
            events, over = self._since(position)
            yield from events
            position += len(events)
        self.result()

    async def __aiter__(self) -> AsyncIterator[E]:
        loop, news = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(news.set)

        with self._news:
            self._wakers.append(wake)
        try:
            position, over = 0, False
            while True:
                news.clear()
                events, over = self._since(position)
                for event in events:
                    yield event
                position += len(events)
                if over:
                    break
                if not events:
                    await news.wait()
        finally:
            with self._news:
                self._wakers.remove(wake)
        self.result()

    async def finish(self, on_event: Callable[[E], Awaitable[object]] | None = None) -> T:
        """Wait for the end in an event loop. A waiting task that is cancelled takes the work with it.

        Args:
            on_event: is awaited with each event.
        """
        try:
            async for event in self:
                if on_event is not None:
                    await on_event(event)
        except BaseException:
            if not self.over:
                self.cancel()
                with contextlib.suppress(Cancelled, Exception):
                    async for _ in self:
                        pass
            raise
        return self.result()
