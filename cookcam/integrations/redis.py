"""Client of Redis or a Redis cluster, through coredis, for the bus, the cache and rate limits.

The library is imported and connected on first use, so the program starts while Redis is
unavailable. Every failure of Redis or the connection is a `ServiceUnavailable`.

Commands share one client. It is closed with its connections at the first connection failure, and
the next caller opens a new one: a pool with broken connections or nodes that are gone is replaced,
not repaired. After a failure calls fail at once until the `Backoff` has passed; then one caller
reconnects for all, so that a recovering Redis is not flooded with connections.
"""

from __future__ import annotations

import hashlib
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar, cast

import structlog
import trio
from attrs import define, field

from cookcam.config.addresses import RedisAddress
from cookcam.errors import AppError, ServiceUnavailable
from cookcam.integrations.pause import Backoff
from cookcam.lifecycle.groups import leaves, service_nursery

if TYPE_CHECKING:
    import coredis

    Client: TypeAlias = coredis.Redis[bytes] | coredis.RedisCluster[bytes]

T = TypeVar("T")

CONNECT_TIMEOUT: Final = 2.0
"""Seconds to connect and to get the first PONG."""
RESPONSE_TIMEOUT: Final = 1.0
"""Seconds to wait for a response on an open connection."""
CALL_TIMEOUT: Final = 4.0
"""Seconds for a call, including connecting."""
MAX_CONNECTIONS: Final = 1
"""Connections for commands to each server; commands are pipelined on a connection."""
MAX_IDLE_SECONDS: Final = 5
"""Seconds without a message after which a subscription pings Redis."""


@define
class _SharedClient:
    """The client that commands share, open until `scope` is cancelled."""

    client: Client
    scope: trio.CancelScope


@define(eq=False)
class Redis:
    """The client of one Redis, shared by the whole program. Open it with `open`.

    All methods raise `ServiceUnavailable` when Redis does not respond in time, returns an error,
    or has just failed.
    """

    _address: RedisAddress
    _nursery: trio.Nursery
    _shared: _SharedClient | None = field(default=None, init=False)
    _opening: trio.Event | None = field(default=None, init=False)
    _backoff: Backoff = field(factory=Backoff, init=False)
    _retry_at: float = field(default=0.0, init=False)
    _imported: bool = field(default=False, init=False)

    @staticmethod
    @asynccontextmanager
    async def open(url: str) -> AsyncGenerator[Redis]:
        """Open a client for the duration of the block, for a URL that `RedisAddress.of` accepts.

        TLS verifies the certificate and the host name. Does not connect. Raises ValueError for any
        other URL; the message does not contain it.
        """
        address = RedisAddress.of(url)
        async with service_nursery() as nursery:
            yield Redis(address, nursery)

    async def ping(self) -> None:
        """Return when Redis has responded."""
        await self._call(_ping)

    async def get(self, key: str) -> bytes | None:
        """Return the value of a key, or None."""
        return await self._call(lambda client: client.get(key))

    async def set(self, key: str, value: bytes, seconds: int) -> None:
        """Store a value for `seconds`."""
        await self._call(lambda client: client.set(key, value, ex=seconds))

    async def increment(self, key: str) -> int:
        """Increment a counter, which starts at 0. Returns the new value."""
        return await self._call(lambda client: client.incr(key))

    async def run_script(self, script: str, keys: Sequence[str], args: Sequence[int | str]) -> Any:
        """Run a Lua script; its source is sent once to each server."""
        digest = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()

        async def run(client: Client) -> Any:
            from coredis.exceptions import NoScriptError

            try:
                return await client.evalsha(digest, keys, args)
            except NoScriptError:
                return await client.eval(script, keys, args)

        return await self._call(run)

    async def delete(self, *keys: str) -> None:
        """Delete keys, in any number and of any slots of a cluster."""
        if keys:
            await self._call(lambda client: client.delete(keys))

    async def publish(self, channel: str, message: bytes) -> None:
        """Publish a message to the current subscribers."""
        await self._call(lambda client: client.publish(channel, message))

    @asynccontextmanager
    async def subscribe(self, channel: str) -> AsyncGenerator[AsyncGenerator[bytes]]:
        """Subscribe to a channel over a separate connection.

        Messages published after the block began are delivered. When the connection is lost or
        Redis stops responding, the block is cancelled and raises `ServiceUnavailable`. Messages
        published from then on are lost; the caller subscribes again after a `Backoff`.
        """
        with translate_errors():
            async with (
                await self._make() as client,
                client.pubsub(
                    channels=[channel],
                    ignore_subscribe_messages=True,
                    retry_policy=None,
                    subscription_timeout=RESPONSE_TIMEOUT,
                    max_idle_seconds=MAX_IDLE_SECONDS,
                ) as subscription,
            ):
                yield _messages(subscription)

    # -- the client that commands share

    async def _call(self, command: Callable[[Client], Awaitable[T]]) -> T:
        shared = self._shared
        if not self._imported:
            # Outside the time limit of a call: with cold bytecode, or beside the imports of other
            # libraries, it takes seconds.
            await trio.to_thread.run_sync(_import_library, abandon_on_cancel=True)
            self._imported = True
        try:
            with translate_errors(), trio.fail_after(CALL_TIMEOUT):
                if shared is None:
                    shared = await self._open_shared()
                response = await command(shared.client)
        except Exception as error:
            # coredis replaces a cancellation while it connects by an error of its own.
            await trio.lowlevel.checkpoint_if_cancelled()
            if shared is not None and shared.scope.cancel_called:
                raise ServiceUnavailable from error  # another caller has closed the client
            if shared is not None and _is_lost(error.__cause__):
                self._drop(shared)
            raise
        self._backoff.reset()
        return response

    async def _open_shared(self) -> _SharedClient:
        """Open the client once and share it. Raises ServiceUnavailable during the backoff."""
        if self._opening is None:
            if trio.current_time() < self._retry_at:
                raise ServiceUnavailable
            self._opening = trio.Event()
            # Not in the caller's task: its cancellation must not close the client of the others.
            self._nursery.start_soon(self._hold_shared, self._opening)
        await self._opening.wait()
        if self._shared is None:
            raise ServiceUnavailable
        return self._shared

    async def _hold_shared(self, opening: trio.Event) -> None:
        shared: _SharedClient | None = None
        log = structlog.get_logger(__name__)
        try:
            with trio.CancelScope() as scope:
                async with await self._make() as client:
                    with trio.fail_after(CONNECT_TIMEOUT):
                        await _ping(client)
                    shared = self._shared = _SharedClient(client, scope)
                    self._opening = None
                    opening.set()
                    log.info("redis connected")
                    await trio.sleep_forever()
        except (Exception, BaseExceptionGroup) as error:
            cancelled = _cancelled(error)
            if cancelled is not None:
                raise cancelled from None
            log.warning("redis cannot be reached", reason=type(next(leaves(error))).__name__)
        finally:
            if shared is None:
                self._opening = None
                self._back_off()
                opening.set()
            else:
                self._drop(shared)

    def _drop(self, shared: _SharedClient) -> None:
        if self._shared is shared:
            self._shared = None
            self._back_off()
        shared.scope.cancel()

    def _back_off(self) -> None:
        self._retry_at = trio.current_time() + self._backoff.next_delay()

    async def _make(self) -> Client:
        """Create an unconnected client, in a thread: importing coredis takes most of a second."""
        return await trio.to_thread.run_sync(
            partial(_make_client, self._address), abandon_on_cancel=True
        )


def _import_library() -> None:
    import coredis  # noqa: F401 # pyright: ignore[reportUnusedImport]


def _make_client(address: RedisAddress) -> Client:
    import coredis
    from coredis.connection import TCPLocation
    from coredis.retry import NoRetryPolicy

    options: dict[str, Any] = {
        "username": address.username,
        "password": address.password,
        "ssl_context": ssl.create_default_context() if address.tls else None,
        "connect_timeout": CONNECT_TIMEOUT,
        "stream_timeout": RESPONSE_TIMEOUT,
        "pool_timeout": CALL_TIMEOUT,
        "max_connections": MAX_CONNECTIONS,
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
    """Return whether the connection failed, as opposed to the command."""
    from coredis.exceptions import ConnectionError, RedisClusterError

    if cause is None:
        return False
    lost = (OSError, trio.TooSlowError, ConnectionError, RedisClusterError)
    return all(isinstance(error, lost) for error in leaves(cause))


@contextmanager
def translate_errors() -> Generator[None]:
    """Translate errors of Redis, coredis and the network to `ServiceUnavailable`.

    Other exceptions of the block are raised unchanged, without the exception groups that coredis'
    nurseries wrap them in.
    """
    try:
        yield
    except AppError:
        raise
    except (Exception, BaseExceptionGroup) as error:
        cancelled = _cancelled(error)
        if cancelled is not None:
            raise cancelled from None
        for leaf in leaves(error):
            if not _is_redis(leaf):
                raise leaf from leaf.__cause__
        raise ServiceUnavailable from error


def _is_redis(error: BaseException) -> bool:
    if isinstance(error, OSError | trio.TooSlowError):
        return True
    from coredis.exceptions import RedisError

    return isinstance(error, RedisError)


def _cancelled(error: BaseException) -> BaseException | None:
    """Return the `trio.Cancelled` part of an exception group, or None."""
    if isinstance(error, BaseExceptionGroup):
        return cast("BaseExceptionGroup[Any]", error).split(trio.Cancelled)[0]
    return None
