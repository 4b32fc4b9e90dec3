"""Buckets and objects as files: `{home}/{bucket}/content/` and, of the same names, `about/`.

An object's file is named by its key, percent-encoded, so no key leads out of its directory. An
object appears whole or not at all, and never in place of another.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote
from uuid import uuid4

import orjson
from attrs import asdict, frozen

from cookcam.sandbox.storage import faults

_MAX_NAME_LENGTH = 240
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@frozen
class Bucket:
    """A bucket as the API shows it."""

    id: str
    public: bool
    created_at: str
    file_size_limit: int | None = None
    allowed_mime_types: list[str] | None = None


@frozen
class About:
    """The metadata of an object."""

    id: str
    key: str
    mimetype: str
    size: int
    etag: str
    cache_control: str
    created_at: str


@frozen
class Files:
    """The files of a project under `home`. Blocks: call it in a thread."""

    home: Path

    @classmethod
    def at(cls, home: Path, buckets: Mapping[Any, bool]) -> Files:
        """The files under `home`, with `buckets` (name: public) made if they are not there."""
        files = cls(home)
        for name, public in buckets.items():
            if not files._definition(name).exists():
                files.make_bucket(name, public=public)
        return files

    def make_bucket(
        self,
        name: str,
        *,
        public: bool,
        file_size_limit: int | None = None,
        allowed_mime_types: list[str] | None = None,
    ) -> Bucket:
        """Raises StorageFault."""
        if not _BUCKET.fullmatch(name):
            raise faults.bad_request("Invalid bucket name")
        bucket = Bucket(name, public, _now(), file_size_limit, allowed_mime_types)
        for part in ("content", "about"):
            (self.home / name / part).mkdir(parents=True, exist_ok=True)
        try:
            with self._definition(name).open("xb") as definition:
                definition.write(orjson.dumps(asdict(bucket)))
        except FileExistsError:
            raise faults.duplicate() from None
        return bucket

    def bucket(self, name: str) -> Bucket:
        """Raises StorageFault."""
        if not _BUCKET.fullmatch(name):
            raise faults.bucket_not_found()
        try:
            return Bucket(**orjson.loads(self._definition(name).read_bytes()))
        except FileNotFoundError:
            raise faults.bucket_not_found() from None

    def put(
        self,
        bucket_name: str,
        key: str,
        content: bytes,
        mimetype: str,
        cache_control: str,
        *,
        replace: bool = False,
    ) -> About:
        """Raises StorageFault."""
        bucket = self.bucket(bucket_name)
        if bucket.file_size_limit is not None and len(content) > bucket.file_size_limit:
            raise faults.too_large()
        if bucket.allowed_mime_types is not None and mimetype not in bucket.allowed_mime_types:
            raise faults.wrong_type(mimetype)
        about = About(
            id=str(uuid4()),
            key=key,
            mimetype=mimetype,
            size=len(content),
            etag=f'"{hashlib.sha256(content).hexdigest()[:32]}"',
            cache_control=cache_control,
            created_at=_now(),
        )
        content_at, about_at = self._paths(bucket_name, key)
        unfinished = self.home / bucket_name / f"{about.id}.unfinished"
        try:
            unfinished.write_bytes(content)
            if replace:
                unfinished.replace(content_at)
            else:
                content_at.hardlink_to(unfinished)
            about_at.write_bytes(orjson.dumps(asdict(about)))
        except FileExistsError:
            raise faults.duplicate() from None
        finally:
            unfinished.unlink(missing_ok=True)
        return about

    def get(self, bucket_name: str, key: str) -> tuple[About, bytes]:
        """Raises StorageFault."""
        self.bucket(bucket_name)
        content_at, about_at = self._paths(bucket_name, key)
        try:
            return About(**orjson.loads(about_at.read_bytes())), content_at.read_bytes()
        except FileNotFoundError:
            raise faults.object_not_found() from None

    def all(self, bucket_name: str) -> list[About]:
        """The objects of a bucket, by key. Raises StorageFault."""
        self.bucket(bucket_name)
        names = sorted((self.home / bucket_name / "about").iterdir(), key=lambda p: unquote(p.name))
        return [About(**orjson.loads(path.read_bytes())) for path in names]

    def delete(self, bucket_name: str, keys: list[str]) -> list[About]:
        """Delete the existing objects of `keys` and return them. Raises StorageFault."""
        gone: list[About] = []
        for key in keys:
            try:
                about, _ = self.get(bucket_name, key)
            except faults.StorageFault as fault:
                if fault.status == 404 and fault.error == "not_found":
                    continue
                raise
            for path in self._paths(bucket_name, key):
                path.unlink(missing_ok=True)
            gone.append(about)
        return gone

    def _definition(self, bucket_name: str) -> Path:
        return self.home / bucket_name / "bucket.json"

    def _paths(self, bucket_name: str, key: str) -> tuple[Path, Path]:
        parts = key.split("/")
        name = quote(key, safe="")
        if any(part in ("", ".", "..") for part in parts) or len(name) > _MAX_NAME_LENGTH:
            raise faults.invalid_key(key)
        return (
            self.home / bucket_name / "content" / name,
            self.home / bucket_name / "about" / name,
        )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
