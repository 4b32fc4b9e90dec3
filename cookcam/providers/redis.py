"""Redis, or a Redis cluster, through coredis: what the bus and the cache need of it, and no more.

Nothing is connected, nor the library imported, before the first use, so that the program starts
while Redis is away. Whatever goes wrong between here and there is a `ServiceUnavailable`.

Commands share one client. It is dropped with its connections at the first failure of the way to
Redis, and the next caller makes another: a pool that was cut, or that looks at nodes which are
gone, is not mended but replaced. After a failure nobody tries again for a while, and then one
caller for all (`Pause`), so that a Redis that comes back is not met by a storm.
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import structlog
import trio
from attrs import define, field

from cookcam.errors import AppError, ServiceUnavailable
from cookcam.providers.pause import Pause
from cookcam.settings.addresses import RedisAddress

if TYPE_CHECKING:
    import coredis

    Client: TypeAlias = coredis.Redis[bytes] | coredis.RedisCluster[bytes]

T = TypeVar("T")

CONNECT_BOUND: Final = 2.0
"""Seconds to connect, and to be greeted."""
ANSWER_BOUND: Final = 1.0
"""Seconds to wait for an answer on an open connection."""
CALL_BOUND: Final = 4.0
"""Seconds for a call, with all it takes."""
CONNECTIONS: Final = 1
"""Of the commands, to each server: they need not wait for each other's answers."""
SILENCE: Final = 5
"""Seconds without a message after which a subscription asks whether Redis is there."""


@define
class _Line:
    """A client with its connections, open while its holder runs."""

    client: Client
    scope: trio.CancelScope


@define(eq=False)
class Redis:
    """The client of one Redis, for the whole program. Get it with `open`.

    Everything here raises `ServiceUnavailable` when Redis does not answer in time, refuses, or
    was found away a moment ago.
    """

    _address: RedisAddress
    _nursery: trio.Nursery
    _line: _Line | None = field(default=None, init=False)
    _opening: trio.Event | None = field(default=None, init=False)
    _pause: Pause = field(factory=Pause, init=False)
    _away_until: float = field(default=0.0, init=False)

    @staticmethod
    @asynccontextmanager
    async def open(url: str) -> AsyncGenerator[Redis]:
        """A client for the length of the block, for a URL of the forms of `RedisAddress.of`.

        TLS checks the certificate and the name. Does not connect. Raises ValueError for any other
        URL, without a part of it in the text.
        """
        address = RedisAddress.of(url)
        failure: BaseException | None = None
        async with trio.open_nursery() as nursery:
            try:
                yield Redis(address, nursery)
            except BaseException as error:
                failure = error  # raised again outside of the nursery, which would wrap it
            nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    async def ping(self) -> None:
        """Returns when Redis has answered."""
        await self._call(_ping)

    async def get(self, key: str) -> bytes | None:
        """The value of a key; None where there is none."""
        return await self._call(lambda client: client.get(key))

    async def set(self, key: str, value: bytes, seconds: int) -> None:
        """Keeps a value for so many seconds."""
        await self._call(lambda client: client.set(key, value, ex=seconds))

    async def increment(self, key: str) -> int:
        """Counts a key up, from nothing to 1; returns the new count."""
        return await self._call(lambda client: client.incr(key))

    async def delete(self, *keys: str) -> None:
        """Forgets keys, in any number and of any slots of a cluster."""
        if keys:
            await self._call(lambda client: client.delete(keys))

    async def publish(self, channel: str, message: bytes) -> None:
        """Says something to whoever is subscribed at this moment."""
        await self._call(lambda client: client.publish(channel, message))

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncGenerator[AsyncGenerator[bytes]]:
        """The messages of a channel, over a connection of its own.

        What is published after the block began is not missed. When the connection is lost, or
        Redis silent, the block is cancelled and ends with `ServiceUnavailable`: what was said
        meanwhile is gone, and the caller, who alone knows what to do about that, comes again,
        after a `Pause`.
        """
        with translated():
            async with (
                await self._make() as client,
                client.pubsub(
                    channels=[channel],
                    ignore_subscribe_messages=True,
                    retry_policy=None,
                    subscription_timeout=ANSWER_BOUND,
                    max_idle_seconds=SILENCE,
                ) as subscription,
            ):
                yield _messages(subscription)

    # -- the client that commands share

    async def _call(self, command: Callable[[Client], Awaitable[T]]) -> T:
        line = self._line
        try:
            with translated(), trio.fail_after(CALL_BOUND):
                if line is None:
                    line = await self._open_line()
                answer = await command(line.client)
        except Exception as error:
            # coredis makes an error of its own of a cancellation that finds it connecting.
            await trio.lowlevel.checkpoint_if_cancelled()
            if line is not None and line.scope.cancel_called:
                raise ServiceUnavailable from error  # another caller found the line dead
            if line is not None and _is_lost(error.__cause__):
                self._drop(line)
            raise
        self._pause.reset()
        return answer

    async def _open_line(self) -> _Line:
        """One opens it for all who ask. Raises while nobody is to try."""
        if self._opening is None:
            if trio.current_time() < self._away_until:
                raise ServiceUnavailable
            self._opening = trio.Event()
            # Not in the caller's task: whoever gives up must not take it from the others.
            self._nursery.start_soon(self._hold_line, self._opening)
        await self._opening.wait()
        if self._line is None:
            raise ServiceUnavailable
        return self._line

    async def _hold_line(self, opening: trio.Event) -> None:
        line: _Line | None = None
        log = structlog.get_logger(__name__)
        try:
            with trio.CancelScope() as scope:
                async with await self._make() as client:
                    with trio.fail_after(CONNECT_BOUND):
                        await _ping(client)
                    line = self._line = _Line(client, scope)
                    self._opening = None
                    opening.set()
                    log.info("redis connected")
                    await trio.sleep_forever()
        except (Exception, BaseExceptionGroup) as error:
            cancelled = _cancelled(error)
            if cancelled is not None:
                raise cancelled from None
            log.warning("redis cannot be reached", reason=type(next(_leaves(error))).__name__)
        finally:
            if line is None:
                self._opening = None
                self._leave_alone()
                opening.set()
            else:
                self._drop(line)

    def _drop(self, line: _Line) -> None:
        if self._line is line:
            self._line = None
            self._leave_alone()
        line.scope.cancel()

    def _leave_alone(self) -> None:
        self._away_until = trio.current_time() + self._pause.after_failure()

    async def _make(self) -> Client:
        """Not connected. Importing coredis takes a good part of a second: not on this thread."""
        return await trio.to_thread.run_sync(partial(_make_client, self._address))


def _make_client(address: RedisAddress) -> Client:
    import coredis
    from coredis.connection import TCPLocation
    from coredis.retry import NoRetryPolicy

    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "ssl_context": ssl.create_default_context() if address.tls else None,
        "connect_timeout": CONNECT_BOUND,
        "stream_timeout": ANSWER_BOUND,
        "pool_timeout": CALL_BOUND,
        "max_connections": CONNECTIONS,
        "verify_version": False,
        "retry_policy": NoRetryPolicy(),
    }
    if address.cluster:
        nodes = [TCPLocation(*node) for node in address.nodes]
        options["max_connections_per_node"] = True
        return cast("Client", coredis.RedisCluster(startup_nodes=nodes, **options))
    host, port = address.nodes[0]
    return coredis.Redis(host=host, port=port, db=address.database, **options)


async def _ping(client: Client) -> None:
    await client.ping()


async def _messages(subscription: Any) -> AsyncGenerator[bytes]:
    while True:
        message = await subscription.get_message()
        if message is not None:
            yield message["data"]


def _is_lost(cause: BaseException | None) -> bool:
    """Whether the way to Redis failed, and not what was asked of it."""
    from coredis.exceptions import ConnectionError, RedisClusterError

    if cause is None:
        return False
    lost = (OSError, trio.TooSlowError, ConnectionError, RedisClusterError)
    return all(isinstance(error, lost) for error in _leaves(cause))


@contextmanager
def translated() -> Generator[None]:
    """Whatever Redis, coredis or the network raise becomes `ServiceUnavailable`.

    Other exceptions of the block come out as they went in: coredis runs its connections in
    nurseries, which wrap what passes them into groups.
    """
    try:
        yield
    except AppError:
        raise
    except (Exception, BaseExceptionGroup) as error:
        cancelled = _cancelled(error)
        if cancelled is not None:
            raise cancelled from None
        for leaf in _leaves(error):
            if not _is_redis(leaf):
                raise leaf from leaf.__cause__
        raise ServiceUnavailable from error


def _is_redis(error: BaseException) -> bool:
    if isinstance(error, OSError | trio.TooSlowError):
        return True
    from coredis.exceptions import RedisError

    return isinstance(error, RedisError)


def _cancelled(error: BaseException) -> BaseException | None:
    """The part of an exception that a cancel scope waits for."""
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[Any]", error).split(trio.Cancelled)[0]
    return None


def _leaves(error: BaseException) -> Generator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in cast("BaseExceptionGroup[Any]", error).exceptions:
            yield from _leaves(inner)
    else:
        yield error
