"""The HTTP face of the fake: paths, keys and bodies of Supabase Storage behind the gateway."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar, cast

import jwt
import trio
from quart import Response, request
from quart_trio import QuartTrio

from cookcam.sandbox.gotrue.keys import SigningKey
from cookcam.sandbox.serving import Faults, bearer_token, json_response, read_json_object
from cookcam.sandbox.storage import faults
from cookcam.sandbox.storage.files import About, Files

T = TypeVar("T")

BASE = "/storage/v1"


def include_storage(
    app: QuartTrio, key: SigningKey, *, files: Files, behaviour: Faults | None = None
) -> None:
    """Adds the routes of Storage to `app`; `key` made the project's keys and signs URLs."""
    behaviour = behaviour or Faults()
    behaviour.apply_to(app, lambda failure: _rejection(faults.staged(failure.status)), BASE)
    app.register_error_handler(faults.StorageFault, _on_fault)
    _objects(app, key, files)
    _reading(app, key, files)


def _objects(app: QuartTrio, key: SigningKey, files: Files) -> None:
    async def store(bucket: str, path: str, *, replace: bool) -> Response:
        _require_service_role(key)
        content, mimetype, cache_control = await _upload()
        about = await _in_thread(
            files.put, bucket, path, content, mimetype, cache_control, replace=replace
        )
        return json_response({"Id": about.id, "Key": f"{bucket}/{path}"})

    @app.post(f"{BASE}/object/<bucket>/<path:path>")
    async def upload(bucket: str, path: str) -> Response:
        replace = request.headers.get("x-upsert", "").lower() == "true"
        return await store(bucket, path, replace=replace)

    @app.delete(f"{BASE}/object/<bucket>")
    async def delete(bucket: str) -> Response:
        _require_service_role(key)
        prefixes: object = (await _body()).get("prefixes")
        if not isinstance(prefixes, list) or not prefixes:
            raise faults.bad_request("body must have required property 'prefixes'")
        keys = [str(prefix) for prefix in cast("list[object]", prefixes)]
        gone = await _in_thread(files.delete, bucket, keys)
        return json_response(
            [_object_json(about, about.key) | {"bucket_id": bucket} for about in gone]
        )

    @app.post(f"{BASE}/object/list/<bucket>")
    async def list_objects(bucket: str) -> Response:
        _require_service_role(key)
        body = await _body()
        listed = _listing(await _in_thread(files.all, bucket), str(body.get("prefix") or ""))
        sort_by: Any = body.get("sortBy") or {}
        if sort_by.get("order") == "desc":
            listed.reverse()
        offset, limit = int(body.get("offset") or 0), int(body.get("limit") or 100)
        return json_response(listed[offset : offset + limit])

    @app.post(f"{BASE}/object/sign/<bucket>")
    async def sign_many(bucket: str) -> Response:
        _require_service_role(key)
        body = await _body()
        seconds, answers = _lifetime(body), list[dict[str, str | None]]()
        for path in cast("list[str]", body.get("paths") or []):
            try:
                await _in_thread(files.get, bucket, path)
                now = int(time.time())
                token = key.sign({"url": f"{bucket}/{path}", "iat": now, "exp": now + seconds})
                url = f"/object/sign/{bucket}/{path}?token={token}"
                answers.append({"error": None, "path": path, "signedURL": url})
            except faults.StorageFault as fault:
                answers.append({"error": fault.message, "path": path, "signedURL": None})
        return json_response(answers)


def _reading(app: QuartTrio, key: SigningKey, files: Files) -> None:
    async def content(bucket: str, path: str) -> Response:
        about, body = await _in_thread(files.get, bucket, path)
        response = Response(body, content_type=about.mimetype)
        response.headers["Cache-Control"] = about.cache_control
        response.headers["ETag"] = about.etag
        return response

    @app.get(f"{BASE}/object/public/<bucket>/<path:path>")
    async def public(bucket: str, path: str) -> Response:
        if not (await _in_thread(files.bucket, bucket)).public:
            raise faults.bucket_not_found()
        return await content(bucket, path)

    @app.get(f"{BASE}/object/sign/<bucket>/<path:path>")
    async def signed(bucket: str, path: str) -> Response:
        try:
            claims = key.verify(request.args.get("token", ""))
        except jwt.ExpiredSignatureError:
            raise faults.invalid_token('"exp" claim timestamp check failed') from None
        except jwt.InvalidTokenError:
            raise faults.invalid_token("signature verification failed") from None
        if claims.get("url") != f"{bucket}/{path}":
            raise faults.invalid_token("The url does not match the token")
        return await content(bucket, path)

    @app.get(f"{BASE}/object/authenticated/<bucket>/<path:path>")
    @app.get(f"{BASE}/object/<bucket>/<path:path>")
    async def authenticated(bucket: str, path: str) -> Response:
        _require_service_role(key)
        return await content(bucket, path)


def _require_service_role(key: SigningKey) -> None:
    """The service key passes row-level security; others would need policies of the project."""
    token = bearer_token()
    if not token:
        raise faults.bad_request("headers must have required property 'authorization'")
    try:
        role = key.verify(token).get("role")
    except jwt.InvalidTokenError:
        raise faults.StorageFault(403, "Unauthorized", "jws verification failed") from None
    if role != "service_role":
        raise faults.unauthorized()


def _lifetime(body: dict[str, Any]) -> int:
    try:
        return int(body["expiresIn"])
    except (KeyError, TypeError, ValueError):
        raise faults.bad_request("body must have required property 'expiresIn'") from None


async def _upload() -> tuple[bytes, str, str]:
    """Content, type and cache control of an upload: a multipart form, or the bytes themselves."""
    if request.mimetype != "multipart/form-data":
        content = cast("bytes", await request.get_data(as_text=False))
        kind = request.content_type or "application/octet-stream"
        return content, kind, request.headers.get("Cache-Control", "no-cache")
    files = await request.files
    form = cast("dict[str, str]", await cast("Any", request).form)
    for name in ("file", ""):
        if name in files:
            file = files[name]
            seconds = form.get("cacheControl", "3600")
            mimetype = file.content_type or "application/octet-stream"
            return file.read(), mimetype, f"max-age={seconds}"
    raise faults.bad_request("the form has no file")


def _listing(found: list[About], prefix: str) -> list[dict[str, Any]]:
    """The direct entries of the folder `prefix`: objects, and folders without an id."""
    folder = f"{prefix.strip('/')}/" if prefix.strip("/") else ""
    listed: dict[str, dict[str, Any]] = {}
    for about in found:
        if about.key.startswith(folder):
            name, slash, _ = about.key[len(folder) :].partition("/")
            empty = dict.fromkeys(_object_json(about, name))
            listed[name] = empty | {"name": name} if slash else _object_json(about, name)
    return list(listed.values())


def _object_json(about: About, name: str) -> dict[str, Any]:
    return {
        "name": name,
        "id": about.id,
        "updated_at": about.created_at,
        "created_at": about.created_at,
        "last_accessed_at": about.created_at,
        "metadata": {
            "eTag": about.etag,
            "size": about.size,
            "mimetype": about.mimetype,
            "cacheControl": about.cache_control,
            "lastModified": about.created_at,
            "contentLength": about.size,
            "httpStatusCode": 200,
        },
    }


async def _body() -> dict[str, Any]:
    try:
        return await read_json_object()
    except ValueError as error:
        raise faults.bad_request(str(error)) from None


async def _in_thread(work: Callable[..., T], *args: Any, **kwargs: Any) -> T:
    return await trio.to_thread.run_sync(partial(work, *args, **kwargs))


async def _on_fault(fault: faults.StorageFault) -> Response:
    await request.get_data()  # or the next request on this connection would wait behind it
    return _rejection(fault)


def _rejection(fault: faults.StorageFault) -> Response:
    return json_response(fault.body(), fault.http)
