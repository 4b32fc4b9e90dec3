"""The errors of Supabase Storage. Most have HTTP status 400 and the real status in the body."""

from __future__ import annotations

from attrs import define


@define(slots=False, eq=False)
class StorageFault(Exception):
    """An answer that is an error; `status` is that of the body, `http` that of the response."""

    status: int
    error: str
    message: str
    http: int = 400

    def body(self) -> dict[str, str]:
        return {"statusCode": str(self.status), "error": self.error, "message": self.message}


def bucket_not_found() -> StorageFault:
    return StorageFault(404, "Bucket not found", "Bucket not found")


def object_not_found() -> StorageFault:
    return StorageFault(404, "not_found", "Object not found")


def duplicate() -> StorageFault:
    return StorageFault(409, "Duplicate", "The resource already exists")


def invalid_key(key: str) -> StorageFault:
    return StorageFault(400, "InvalidKey", f"Invalid key: {key}")


def too_large() -> StorageFault:
    return StorageFault(
        413, "Payload too large", "The object exceeded the maximum allowed size", http=413
    )


def wrong_type(mime: str) -> StorageFault:
    return StorageFault(415, "invalid_mime_type", f"mime type {mime} is not supported")


def unauthorized() -> StorageFault:
    return StorageFault(403, "Unauthorized", "new row violates row-level security policy")


def invalid_token(why: str) -> StorageFault:
    return StorageFault(400, "InvalidJWT", why)


def bad_request(message: str) -> StorageFault:
    return StorageFault(400, "Error", message)


def staged(status: int) -> StorageFault:
    """The error a staged failure of `status` gives."""
    return StorageFault(status, "InternalError", "Staged by the sandbox", http=status)
