"""Supabase Storage through its own client (storage3), with the service key.

A client is created for each operation and keeps no state; the operations share one connection
pool. Importing the library takes a quarter of a second, so the first call does it in a thread.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

import structlog
import trio
from attrs import define

from cookcam.config.readers import Secret
from cookcam.errors import (
    AppError,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    ServiceAuthError,
    ServiceError,
    ServiceUnavailable,
)
from cookcam.integrations.circuit_breaker import CircuitBreaker
from cookcam.integrations.http_client import LazyHttpClient, send_traceparent
from cookcam.integrations.retry import RetryPolicy, ServiceTimeout, log_outage
from cookcam.integrations.trust import trusted

if TYPE_CHECKING:
    import httpx
    from storage3 import AsyncStorageClient

T = TypeVar("T")

Bucket = Literal["avatars", "completion-photos", "scans"]

BUCKETS: Mapping[Bucket, bool] = {"avatars": True, "completion-photos": True, "scans": False}
"""The buckets of the project, and whether they are public."""

JPEG = "image/jpeg"
SIGNED_URL_TTL = 3600
"""Default validity of a signed URL, in seconds."""

WRITE = RetryPolicy(deadline=12.0, attempts=3)
READ = RetryPolicy(deadline=6.0, attempts=3)

READ_TIMEOUT = 4.0
"""Seconds an attempt waits for the next bytes; leaves time for a retry within the deadline."""
DISCARD_TIMEOUT = 3
"""Seconds for `Storage.discard`, which also runs when its caller is cancelled."""
PAGE = 100


class ObjectExists(AppError):
    """An object of that key exists already; objects are never overwritten."""

    status, code, default_message = 409, "DUPLICATE_ENTRY", "The file exists already"


class ObjectNotFound(NotFound):
    """The object or the bucket does not exist."""


def new_key(folder: str, user_id: UUID) -> str:
    """Return a new unique key: `{folder}/{userId}/{uuid}.jpg`."""
    return f"{folder}/{user_id}/{uuid4()}.jpg"


@define(eq=False)
class Storage:
    """The project's files; open it with `Storage.open`.

    Every operation raises ServiceUnavailable when Storage does not respond (or responds with 5xx)
    after all attempts, RateLimited on a 429, ServiceAuthError when it rejects the key, and
    ServiceError for an unexpected response, besides the errors in its docstring.
    """

    _url: str
    _key: Secret
    _write: RetryPolicy
    _read: RetryPolicy
    _breaker: CircuitBreaker | None
    _http: LazyHttpClient

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        supabase_url: str,
        service_role_key: Secret,
        write: RetryPolicy = WRITE,
        read: RetryPolicy = READ,
        breaker: CircuitBreaker | None = None,
    ) -> AsyncGenerator[Storage]:
        """Open a client for the project at `supabase_url`; its connections close with the block.

        Connects on the first call. `write` and `read` are the retry policies of the operations.
        """
        url = f"{supabase_url}/storage/v1/"
        async with aclosing(LazyHttpClient(_new_connections)) as http:
            yield cls(url, service_role_key, write, read, breaker, http)

    async def put(self, bucket: Bucket, key: str, content: bytes, content_type: str = JPEG) -> None:
        """Store a new object. `key` must be new, as from `new_key`.

        Raises ObjectExists, PayloadTooLarge when the file is too large for the bucket, and
        ObjectNotFound when the project has no such bucket. An attempt whose response was lost may
        have stored the object, so ObjectExists on a later attempt counts as success.
        """
        attempts = 0

        async def upload(client: AsyncStorageClient) -> None:
            nonlocal attempts
            attempts += 1
            try:
                await client.from_(bucket).upload(
                    key, content, {"content-type": content_type, "cache-control": "31536000"}
                )
            except Exception as error:
                if attempts == 1 or not isinstance(_app_error_from(error), ObjectExists):
                    raise

        await self._call("put", self._write, upload)

    def public_url(self, bucket: Bucket, key: str) -> str:
        """Return the URL of an object in a public bucket. Sends no request."""
        return f"{self._url}object/public/{bucket}/{quote(key)}"

    async def signed_urls(
        self, bucket: Bucket, keys: Sequence[str], seconds: int = SIGNED_URL_TTL
    ) -> dict[str, str]:
        """Create URLs that grant read access to objects for `seconds`, by key, in one call.

        Missing objects are omitted.
        """
        signed = await self._call(
            "sign",
            self._read,
            lambda client: client.from_(bucket).create_signed_urls(list(keys), seconds),
        )
        return {
            item["path"]: item["signedURL"]
            for item in signed
            if item["path"] and item["signedURL"] and not item["error"]
        }

    async def delete(self, bucket: Bucket, keys: Sequence[str]) -> None:
        """Delete objects; missing objects are not an error."""
        for start in range(0, len(keys), PAGE):
            page = list(keys[start : start + PAGE])
            await self._call(
                "delete", self._write, lambda client, page=page: client.from_(bucket).remove(page)
            )

    async def discard(self, bucket: Bucket, key: str) -> None:
        """Delete an object whose row was not stored. Shielded from cancellation; never raises."""
        with trio.move_on_after(DISCARD_TIMEOUT, shield=True):
            try:
                await self.delete(bucket, [key])
            except AppError as error:
                log = structlog.get_logger(__name__)
                log.warning("unused object not deleted", bucket=bucket, code=error.code)

    async def reachable(self) -> None:
        """List an empty folder, which changes nothing. Raises the errors listed at the class."""
        await self.list("scans", "health")

    async def list(self, bucket: Bucket, prefix: str) -> list[str]:
        """Return the keys of all objects directly in a folder, such as `photos/{userId}`."""
        folder = prefix.strip("/")
        keys: list[str] = []
        for offset in range(0, 100_000, PAGE):
            page = await self._call(
                "list",
                self._read,
                lambda client, offset=offset: client.from_(bucket).list(
                    folder, {"limit": PAGE, "offset": offset}
                ),
            )
            # Subfolders are listed too, without an id.
            keys += [f"{folder}/{item['name']}".lstrip("/") for item in page if item.get("id")]
            if len(page) < PAGE:
                break
        return keys

    async def _call(
        self,
        what: str,
        policy: RetryPolicy,
        operation: Callable[[AsyncStorageClient], Awaitable[T]],
    ) -> T:
        http = await self._http.get()

        async def once() -> T:
            try:
                return await operation(_throwaway_client(self._url, self._key, http))
            except Exception as error:
                # Not chained: the exception references the request, whose headers have the key.
                failure = _app_error_from(error)
            raise failure

        with log_outage("storage does not answer", operation=what):
            return await policy.call(once, self._breaker)


def _new_connections() -> httpx.AsyncClient:
    """Create the HTTP client. Runs in a thread: the imports take 0.25 s."""
    import httpx
    import storage3 as _  # noqa: F401 - for its side effect of being imported

    return httpx.AsyncClient(
        verify=trusted(),
        event_hooks={"request": [send_traceparent]},
        timeout=httpx.Timeout(READ_TIMEOUT, connect=3.0),
        limits=httpx.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=30),
    )


def _throwaway_client(url: str, key: Secret, http: httpx.AsyncClient) -> AsyncStorageClient:
    from storage3 import AsyncStorageClient

    headers = {"apikey": key.reveal(), "Authorization": f"Bearer {key.reveal()}"}
    return AsyncStorageClient(url, headers, http_client=http)


def _app_error_from(error: Exception) -> AppError:
    """Translate an exception of storage3 or httpx. Storage's status is a text in the body.

    Its message is not passed on.
    """
    import httpx
    from storage3.exceptions import StorageApiError

    if isinstance(error, httpx.TimeoutException):
        return ServiceTimeout()
    if isinstance(error, httpx.TransportError):
        return ServiceUnavailable()
    if not isinstance(error, StorageApiError):
        return ServiceError()  # a response that is not of the documented shape
    status = _status(error)
    error_type = _BY_STATUS.get(status)
    if error_type is None:
        error_type = ServiceUnavailable if status >= 500 else ServiceError
    if error_type is ServiceError:
        structlog.get_logger(__name__).info("storage refused", status=status, code=error.code)
    return error_type()


_BY_STATUS: Mapping[int, Callable[[], AppError]] = {
    401: ServiceAuthError,
    403: ServiceAuthError,
    404: ObjectNotFound,
    409: ObjectExists,
    413: PayloadTooLarge,
    429: RateLimited,
}


def _status(error: Any) -> int:
    text = str(error.status)
    return int(text) if text.isdigit() else 0
