"""Supabase Storage through its own client (storage3), with the service key.

The client is made for each operation and keeps nothing; what is shared is the pool of connections
below it. Importing the library takes a quarter of a second, so that happens in a thread, in the
first call. Source: `spec/http-api-core.md` §15.1.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Literal, TypeVar
from urllib.parse import quote
from uuid import UUID, uuid4

import structlog
import trio
from attrs import define, field

from cookcam.errors import (
    AppError,
    NotFound,
    PayloadTooLarge,
    RateLimited,
    ServiceAuthError,
    ServiceError,
    ServiceUnavailable,
)
from cookcam.providers.retry import OutOfTime, RetryPolicy
from cookcam.providers.trust import trusted
from cookcam.settings.readers import Secret

if TYPE_CHECKING:
    import httpx
    from storage3 import AsyncStorageClient

T = TypeVar("T")

Bucket = Literal["avatars", "completion-photos", "scans"]

BUCKETS: Mapping[Bucket, bool] = {"avatars": True, "completion-photos": True, "scans": False}
"""The buckets of the project, and whether anybody may read from them."""

JPEG = "image/jpeg"
SIGNED_FOR = 3600
"""Seconds a signed URL is good for, unless said otherwise."""

WRITE = RetryPolicy(deadline=12.0, attempts=3)
READ = RetryPolicy(deadline=6.0, attempts=3)

STEP_BOUND = 4.0
"""Seconds one try waits for the next bytes, so that a silent connection leaves time for another."""
PAGE = 100


class ObjectExists(AppError):
    """An object of that key is there already; nothing is ever overwritten."""

    status, code, default_message = 409, "DUPLICATE_ENTRY", "The file exists already"


class ObjectNotFound(NotFound):
    """There is no such object, or no such bucket."""


def new_key(folder: str, user_id: UUID) -> str:
    """A key nobody has used: `{folder}/{userId}/{uuid}.jpg`."""
    return f"{folder}/{user_id}/{uuid4()}.jpg"


@define(eq=False)
class Storage:
    """The project's files; open it with `Storage.open`.

    Every operation raises ServiceUnavailable when Storage does not answer (or answers 5xx) after
    some tries, RateLimited on its 429, ServiceAuthError when it refuses our key, and ServiceError
    for an answer that cannot be understood, besides what its docstring says.
    """

    _url: str
    _key: Secret
    _write: RetryPolicy = WRITE
    _read: RetryPolicy = READ
    _http: httpx.AsyncClient | None = None
    _opening: trio.Lock = field(factory=trio.Lock)

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        supabase_url: str,
        service_role_key: Secret,
        write: RetryPolicy = WRITE,
        read: RetryPolicy = READ,
    ) -> AsyncGenerator[Storage]:
        """A client for the project at `supabase_url`; its connections close with the block.

        Nothing is connected before the first call. `write` and `read` bound and repeat operations.
        """
        storage = cls(f"{supabase_url}/storage/v1/", service_role_key, write, read)
        try:
            yield storage
        finally:
            if storage._http is not None:
                with trio.move_on_after(1, shield=True):
                    await storage._http.aclose()

    async def put(self, bucket: Bucket, key: str, content: bytes, content_type: str = JPEG) -> None:
        """Stores a new object. `key` must be new, as those of `new_key` are.

        Raises ObjectExists, PayloadTooLarge when the bucket takes no file of that size, and
        ObjectNotFound when the project has no such bucket. A try whose answer was lost may have
        stored the object: when a later one finds the key taken, it is ours.
        """
        tried = 0

        async def upload(client: AsyncStorageClient) -> None:
            nonlocal tried
            tried += 1
            try:
                await client.from_(bucket).upload(
                    key, content, {"content-type": content_type, "cache-control": "31536000"}
                )
            except Exception as error:
                if tried == 1 or not isinstance(_app_error_from(error), ObjectExists):
                    raise

        await self._ask("put", self._write, upload)

    def public_url(self, bucket: Bucket, key: str) -> str:
        """Where anybody may read an object of a public bucket. Asks nobody."""
        return f"{self._url}object/public/{bucket}/{quote(key)}"

    async def signed_url(self, bucket: Bucket, key: str, seconds: int = SIGNED_FOR) -> str:
        """Where whoever has the URL may read an object for so many seconds.

        Raises ObjectNotFound.
        """
        signed = await self._ask(
            "sign",
            self._read,
            lambda client: client.from_(bucket).create_signed_url(key, seconds),
        )
        url = signed["signedURL"]
        if not url:
            raise ServiceError
        return url

    async def signed_urls(
        self, bucket: Bucket, keys: Sequence[str], seconds: int = SIGNED_FOR
    ) -> dict[str, str]:
        """The same for many objects in one call, by key; those that are gone are left out."""
        signed = await self._ask(
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
        """Deletes objects; those that are gone already are no error."""
        for start in range(0, len(keys), PAGE):
            page = list(keys[start : start + PAGE])
            await self._ask(
                "delete", self._write, lambda client, page=page: client.from_(bucket).remove(page)
            )

    async def list(self, bucket: Bucket, prefix: str) -> list[str]:
        """The keys of all objects directly in the folder `prefix`, such as `photos/{userId}`."""
        folder = prefix.strip("/")
        keys: list[str] = []
        for offset in range(0, 100_000, PAGE):
            page = await self._ask(
                "list",
                self._read,
                lambda client, offset=offset: client.from_(bucket).list(
                    folder, {"limit": PAGE, "offset": offset}
                ),
            )
            # A folder in a folder is listed as well, with no id.
            keys += [f"{folder}/{item['name']}".lstrip("/") for item in page if item.get("id")]
            if len(page) < PAGE:
                break
        return keys

    async def _ask(
        self,
        what: str,
        policy: RetryPolicy,
        operation: Callable[[AsyncStorageClient], Awaitable[T]],
    ) -> T:
        http = await self._connections()

        async def once() -> T:
            try:
                return await operation(_throwaway_client(self._url, self._key, http))
            except Exception as error:
                # Not chained: requests, with the key among their headers, hang on to it.
                failure = _app_error_from(error)
            raise failure

        began = trio.current_time()
        try:
            return await policy.call(once)
        except ServiceUnavailable as error:
            structlog.get_logger(__name__).warning(
                "storage does not answer",
                operation=what,
                kind=type(error).__name__,
                seconds=round(trio.current_time() - began, 3),
            )
            raise

    async def _connections(self) -> httpx.AsyncClient:
        if self._http is None:
            async with self._opening:
                if self._http is None:
                    self._http = await trio.to_thread.run_sync(_new_connections)
        return self._http


def _new_connections() -> httpx.AsyncClient:
    """Runs in a thread: the imports take 0.25 s, reading the certificates some milliseconds."""
    import httpx
    import storage3 as _  # noqa: F401 - for its side effect of being imported

    return httpx.AsyncClient(
        verify=trusted(),
        timeout=httpx.Timeout(STEP_BOUND, connect=3.0),
        limits=httpx.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=30),
    )


def _throwaway_client(url: str, key: Secret, http: httpx.AsyncClient) -> AsyncStorageClient:
    from storage3 import AsyncStorageClient

    headers = {"apikey": key.reveal(), "Authorization": f"Bearer {key.reveal()}"}
    return AsyncStorageClient(url, headers, http_client=http)


def _app_error_from(error: Exception) -> AppError:
    """The error for what storage3 or httpx raised. Storage says the status in the body, as text.

    What it says in words goes no further.
    """
    import httpx
    from storage3.exceptions import StorageApiError

    if isinstance(error, httpx.TimeoutException):
        return OutOfTime()
    if isinstance(error, httpx.TransportError):
        return ServiceUnavailable()
    if not isinstance(error, StorageApiError):
        return ServiceError()  # an answer that is not of the documented shape
    status = _status(error)
    known = _BY_STATUS.get(status)
    if known is None:
        known = ServiceUnavailable if status >= 500 else ServiceError
    if known is ServiceError:
        structlog.get_logger(__name__).info("storage refused", status=status, code=error.code)
    return known()


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
