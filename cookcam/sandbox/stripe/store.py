"""The stored objects by kind, in the order of creation.

All objects are in memory; with a file, changes are written to it after each request, so that a
restarted fake has the same state.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any, TypeAlias

import orjson
from attrs import define, field

from cookcam.sandbox.stripe.faults import invalid, missing
from cookcam.sandbox.stripe.subscriptions import Subscription

Body: TypeAlias = dict[str, Any]

PREFIXES = {
    "customer": "cus",
    "product": "prod",
    "price": "price",
    "checkout.session": "cs_test",
    "billing_portal.session": "bps",
    "subscription": "sub",
    "subscription_item": "si",
    "subscription_schedule": "sub_sched",
    "invoice": "in",
    "line_item": "il",
    "invoice_payment": "inpay",
    "payment_intent": "pi",
    "charge": "ch",
    "refund": "re",
    "dispute": "du",
    "account": "acct",
    "transfer": "tr",
    "transfer_reversal": "trr",
    "payout": "po",
    "event": "evt",
}


@define(eq=False)
class Collection:
    """The objects of one kind. Subscriptions are records, all others are as on the wire."""

    objects: dict[str, Any] = field(factory=dict[str, Any])
    _order: list[str] = field(factory=list[str])
    _position: dict[str, int] = field(factory=dict[str, int])
    _of_customer: dict[str, list[str]] = field(factory=dict[str, list[str]])

    def add(self, object_id: str, value: Any) -> None:
        if object_id not in self.objects:
            self._position[object_id] = len(self._order)
            self._order.append(object_id)
            if customer := _customer(value):
                self._of_customer.setdefault(customer, []).append(object_id)
        self.objects[object_id] = value

    def position(self, object_id: str) -> int:
        return self._position[object_id]

    def page(
        self,
        wanted: Callable[[Any], bool],
        *,
        limit: int,
        starting_after: str | None = None,
        customer: str | None = None,
    ) -> tuple[list[Any], bool]:
        """A page, newest first, and whether there are more."""
        order = self._order if customer is None else self._of_customer.get(customer, [])
        end = len(order) if starting_after is None else self._index(order, starting_after)
        values = (self.objects[order[place]] for place in range(end - 1, -1, -1))
        found = list(islice(filter(wanted, values), limit + 1))
        return found[:limit], len(found) > limit

    def _index(self, order: list[str], object_id: str) -> int:
        if object_id not in self._position:
            raise invalid(f"No such object: '{object_id}'", "starting_after", "resource_missing")
        return self._position[object_id] if order is self._order else order.index(object_id)


@define(eq=False)
class Store:
    """Open it with `Store.at`; `now` is the simulated time in whole seconds."""

    _file: sqlite3.Connection | None = None
    offset: float = 0.0
    frozen: int | None = None
    collections: dict[str, Collection] = field(factory=dict[str, Collection])
    _changed: set[tuple[str, str]] = field(factory=set[tuple[str, str]])
    _gone: set[tuple[str, str]] = field(factory=set[tuple[str, str]])

    @classmethod
    def at(cls, path: Path | None) -> Store:
        if path is None:
            return cls()
        path.parent.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(path, isolation_level=None)
        file.execute("pragma journal_mode = wal")
        file.execute("pragma synchronous = off")  # survives a killed process, which is sufficient
        file.execute(
            "create table if not exists objects"
            " (position integer primary key, kind text, id text, body blob, unique (kind, id))"
        )
        store = cls(file)
        for kind, object_id, body in file.execute(
            "select kind, id, body from objects order by position"
        ):
            store.collection(kind).add(object_id, _loaded(kind, body))
        clock = store.collection("clock").objects.get("clock")
        store.offset = clock["offset"] if clock else 0.0
        return store

    def close(self) -> None:
        self.flush()
        if self._file is not None:
            self._file.close()

    @property
    def now(self) -> int:
        return self.frozen if self.frozen is not None else int(time.time() + self.offset)

    def new_id(self, kind: str) -> str:
        return f"{PREFIXES[kind]}_{secrets.token_hex(12)}"

    def collection(self, kind: str) -> Collection:
        if kind not in self.collections:
            self.collections[kind] = Collection()
        return self.collections[kind]

    def all(self, kind: str) -> list[Any]:
        return list(self.collection(kind).objects.values())

    def get(self, kind: str, object_id: str) -> Any:
        """Raises ApiFault: 404 for an unknown one."""
        value = self.collection(kind).objects.get(object_id)
        if value is None:
            raise missing(kind, object_id)
        return value

    def find(self, kind: str, object_id: str | None) -> Any | None:
        return self.collection(kind).objects.get(object_id or "")

    def put(self, kind: str, object_id: str, value: Any) -> None:
        """Add it, or mark it as changed."""
        self.collection(kind).add(object_id, value)
        if self._file is not None:
            self._changed.add((kind, object_id))

    def drop(self, kind: str, object_id: str) -> None:
        """Only for kinds that are never listed."""
        if (
            self.collection(kind).objects.pop(object_id, None) is not None
            and self._file is not None
        ):
            self._changed.discard((kind, object_id))
            self._gone.add((kind, object_id))

    def save_clock(self, offset: float) -> None:
        self.offset = offset
        self.put("clock", "clock", {"offset": offset})

    def flush(self) -> None:
        """Writes what has changed."""
        if self._file is None or not (self._changed or self._gone):
            return
        # In the order of creation; existing ones keep their positions.
        rows = sorted(
            (self.collection(kind).position(oid), kind, oid) for kind, oid in self._changed
        )
        self._file.execute("begin")
        self._file.executemany(
            "insert into objects (kind, id, body) values (?, ?, ?)"
            " on conflict (kind, id) do update set body = excluded.body",
            ((kind, oid, _dumped(self.collection(kind).objects[oid])) for _, kind, oid in rows),
        )
        self._file.executemany("delete from objects where kind = ? and id = ?", list(self._gone))
        self._file.execute("commit")
        self._changed.clear()
        self._gone.clear()


def _customer(value: Any) -> str | None:
    if isinstance(value, Subscription):
        return value.customer
    if isinstance(value, dict):
        customer: object = value.get("customer")  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        return customer if isinstance(customer, str) else None
    return None


def _dumped(value: Any) -> bytes:
    return orjson.dumps(value.record() if isinstance(value, Subscription) else value)


def _loaded(kind: str, body: bytes) -> Any:
    value = orjson.loads(body)
    return Subscription.of_record(value) if kind == "subscription" else value
