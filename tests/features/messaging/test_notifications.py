"""Push notifications: devices, queue, schedule and sender."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar, cast
from uuid import UUID

import httpx
import pytest
import trio
from attrs import define, field
from psycopg import sql
from psycopg.rows import tuple_row
from structlog.testing import capture_logs

from cookcam.config import DatabaseConfig
from cookcam.config.readers import Secret
from cookcam.database import SERVICE, Database
from cookcam.database.connection import Connection
from cookcam.features.messaging.mail.sender import MailSender
from cookcam.features.messaging.notifications import messages
from cookcam.features.messaging.notifications.device_store import MAX_ACTIVE_DEVICES, DeviceStore
from cookcam.features.messaging.notifications.queue_store import QueueStore, SendResult
from cookcam.features.messaging.notifications.receipts import Receipts, ReceiptStore
from cookcam.features.messaging.notifications.schedule import Schedule
from cookcam.features.messaging.notifications.schedule_store import TRY_LOCK, ScheduleStore
from cookcam.features.messaging.notifications.sender import (
    BATCH_SIZE,
    MAX_ATTEMPTS,
    MAX_CONCURRENT_REQUESTS,
    Sender,
)
from cookcam.integrations.mail import Mail, MailRejected
from cookcam.integrations.provider_calls import ProviderUnavailable
from cookcam.integrations.push import Expo, PushMessage, PushProvider, PushResult
from cookcam.realtime.hub import Hub
from cookcam.sandbox.push import FakePush, open_push
from tests.features.conftest import ApiUser, Client
from tests.identity.project import new_user, open_project
from tests.support.hubs import connected
from tests.support.postgres import as_owner
from tests.support.users import create_user
from tests.support.whole_server import environment, whole_server

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
SENT = PushResult("sent")


@define
class Service:
    """A fake provider with configurable outcomes; other devices accept every notification."""

    responses: dict[str, PushResult | Exception] = field(factory=dict[str, PushResult | Exception])
    got: list[tuple[str, PushMessage]] = field(factory=list[tuple[str, PushMessage]])
    delay: float = 0.0
    most: int = 0
    max_batch: ClassVar[int] = 1
    _now: int = 0

    async def send(self, messages: Sequence[PushMessage]) -> Sequence[PushResult]:
        (message,) = messages
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await trio.sleep(self.delay)
            response = self.responses.get(message.token, SENT)
            if isinstance(response, Exception):
                raise response
            if response.verdict == "sent":
                self.got.append((message.token, message))
            return [response]
        finally:
            self._now -= 1


@define
class Counts:
    """Observes deliveries."""

    repeats: list[int] = field(factory=list[int])
    statuses: list[tuple[str, str]] = field(factory=list[tuple[str, str]])

    def attempted(self, channel: str, attempts: int) -> None:
        if attempts > 1:
            self.repeats.append(attempts)

    def settled(self, kind: str, status: str) -> None:
        self.statuses.append((kind, status))


@define
class NotificationSetup:
    """Devices, queue, sender and schedule of one instance, over a separate database."""

    database: Database
    url: str
    now: datetime = NOON
    service: Service = field(factory=Service)
    hub: Hub = field(factory=lambda: Hub(5))
    counts: Counts = field(factory=Counts)

    @property
    def devices(self) -> DeviceStore:
        return DeviceStore(self.database)

    @property
    def queue(self) -> QueueStore:
        return QueueStore(self.database, ["fcm", "apns"])

    def sender(self) -> Sender:
        services: dict[PushProvider, Service] = {"fcm": self.service, "apns": self.service}
        return Sender(self.queue, self.hub, services, lambda: self.now, self.counts)

    def schedule(self, size: int = 500) -> Schedule:
        return Schedule(ScheduleStore(self.queue), lambda: self.now, size=size)

    async def person(self, zone: str = "UTC", **columns: Any) -> UUID:
        """A user with an Android device, whose token is the user's id."""
        made = await create_user(self.url)
        await self.sql("update users set timezone = %(zone)s where id = %(id)s", zone=zone, id=made)
        await self.devices.register(made, str(made), "android")
        return made

    async def streak(self, who: UUID, days: int, last: date) -> None:
        await self.sql(
            "insert into user_streaks (user_id, current_streak, longest_streak, last_cook_date)"
            " values (%(id)s, %(days)s, %(days)s, %(last)s) on conflict (user_id) do update set"
            " current_streak = %(days)s, longest_streak = %(days)s, last_cook_date = %(last)s",
            id=who,
            days=days,
            last=last,
        )

    async def queued(self, who: UUID) -> str:
        """A notification; the time of its row is the database's, so it is due."""
        made = messages.streak_warning(who, date(2026, 3, 10), NOON + timedelta(hours=12), 3)
        async with self.database.transaction() as tx:
            await self.queue.add(tx, [made])
        return await self.value(
            "select id::text from notification_logs where user_id = %(id)s", who
        )

    async def log(self, who: UUID) -> tuple[str, str | None, int]:
        (row,) = await self.sql(
            "select status, error_message, attempts from notification_logs where user_id = %(id)s",
            id=who,
        )
        return row

    async def types(self, who: UUID) -> list[str]:
        rows = await self.sql(
            "select type from notification_logs where user_id = %(id)s order by type", id=who
        )
        return [row[0] for row in rows]

    async def value(self, statement: str, who: UUID) -> Any:
        return (await self.sql(statement, id=who))[0][0]

    async def make_due(self) -> None:
        await self.sql("update notification_logs set next_attempt_at = now() - interval '1 s'")

    async def sql(self, statement: str, **params: Any) -> list[Any]:
        url = as_owner(self.url)
        async with await Connection.connect(url, autocommit=True) as connection:
            cursor = connection.cursor(row_factory=tuple_row)
            await cursor.execute(sql.SQL(statement), params)  # type: ignore[arg-type]
            return await cursor.fetchall() if cursor.description else []


@pytest.fixture
async def setup(fresh_database_url: str) -> AsyncIterator[NotificationSetup]:
    config = DatabaseConfig(url=Secret(fresh_database_url), pool_min=1, pool_max=8)
    async with Database.open(config) as database:
        yield NotificationSetup(database, fresh_database_url)


class TestSending:
    async def test_notification_is_sent_to_every_device_of_the_user(self, setup: NotificationSetup):
        ann, bob = await setup.person(), await setup.person()
        await setup.devices.register(ann, "aabb", "ios")
        known = await setup.queued(ann)
        assert await setup.sender().sweep() == 1
        assert {token for token, _ in setup.service.got} == {str(ann), "aabb"}
        message = setup.service.got[0][1]
        assert (message.id, message.sound, message.urgent) == (known, "warning", True)
        assert message.data == {
            "type": "streak_warning",
            "action": "open_camera",
            "notification_id": known,
            "urgency": "high",
        }
        assert await setup.log(ann) == ("sent", None, 1)
        assert await setup.value(
            "select sent_at is not null from notification_logs where user_id = %(id)s", ann
        )
        assert await setup.types(bob) == []
        assert await setup.sender().sweep() == 0

    async def test_unregistered_device_is_deleted_and_others_receive(
        self, setup: NotificationSetup
    ):
        ann = await setup.person()
        await setup.devices.register(ann, "aabb", "ios")
        setup.service.responses["aabb"] = PushResult("gone", "Unregistered")
        await setup.queued(ann)
        await setup.sender().sweep()
        assert await setup.log(ann) == ("sent", None, 1)
        tokens = "select token from device_tokens where user_id = %(id)s"
        assert await setup.sql(tokens, id=ann) == [(str(ann),)]

    async def test_device_registered_again_meanwhile_stays_active(self, setup: NotificationSetup):
        ann = await setup.person()
        setup.service.responses[str(ann)] = PushResult("gone", "UNREGISTERED")
        setup.service.delay = 0.2
        await setup.queued(ann)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(setup.sender().sweep)
            await trio.sleep(0.1)
            await setup.devices.register(ann, str(ann), "android")
        assert await setup.log(ann) == ("failed", "UNREGISTERED", 1)
        assert await setup.value("select active from device_tokens where user_id = %(id)s", ann)

    async def test_rejection_is_logged_and_keeps_the_device(self, setup: NotificationSetup):
        ann = await setup.person()
        setup.service.responses[str(ann)] = PushResult("refused", "INVALID_ARGUMENT")
        await setup.queued(ann)
        await setup.sender().sweep()
        assert await setup.log(ann) == ("failed", "INVALID_ARGUMENT", 1)
        assert await setup.value("select active from device_tokens where user_id = %(id)s", ann)

    async def test_outage_is_retried_with_backoff_up_to_the_limit(self, setup: NotificationSetup):
        ann = await setup.person()
        setup.service.responses[str(ann)] = ProviderUnavailable()
        await setup.queued(ann)
        pauses: list[float] = []
        for attempt in range(1, MAX_ATTEMPTS):
            assert await setup.sender().sweep() == 1
            assert await setup.sender().sweep() == 0  # not due yet
            assert await setup.log(ann) == ("queued", "fcm", attempt)
            pauses.append(
                await setup.value(
                    "select extract(epoch from next_attempt_at - now())::float"
                    " from notification_logs where user_id = %(id)s",
                    ann,
                )
            )
            await setup.make_due()
        for pause, longest in zip(pauses, (30, 60, 120, 240, 480, 960, 1920), strict=True):
            assert longest / 2 - 5 <= pause <= longest
        await setup.sender().sweep()
        assert await setup.log(ann) == ("failed", "fcm", MAX_ATTEMPTS)

    async def test_retry_after_of_the_provider_is_respected(self, setup: NotificationSetup):
        ann = await setup.person()
        setup.service.responses[str(ann)] = ProviderUnavailable(advice=600)
        await setup.queued(ann)
        await setup.sender().sweep()
        waits = "select next_attempt_at > now() + interval '9 minutes' from notification_logs"
        assert await setup.value(f"{waits} where user_id = %(id)s", ann)

    async def test_unexpected_error_does_not_stop_other_notifications(
        self, setup: NotificationSetup
    ):
        ann, bob = await setup.person(), await setup.person()
        setup.service.responses[str(ann)] = RuntimeError(f"about {ann}")
        await setup.queued(ann)
        await setup.queued(bob)
        with capture_logs() as logs:
            assert await setup.sender().sweep() == 2
        assert (await setup.log(ann))[:2] == ("queued", "RuntimeError")
        assert (await setup.log(bob))[:2] == ("sent", None)
        assert str(ann) not in str(logs)

    async def test_expired_notification_is_skipped(self, setup: NotificationSetup):
        ann = await setup.person()
        await setup.queued(ann)
        setup.now = NOON + timedelta(hours=12)
        await setup.sender().sweep()
        assert await setup.log(ann) == ("skipped", "expired", 1)
        assert setup.service.got == []

    async def test_user_without_device_or_with_notifications_disabled_is_skipped(
        self, setup: NotificationSetup
    ):
        ann, bob = await setup.person(), await setup.person()
        await setup.queued(ann)
        await setup.queued(bob)
        await setup.devices.remove(ann, str(ann))
        await setup.sql("update users set notifications_enabled = false where id = %(id)s", id=bob)
        await setup.sender().sweep()
        assert await setup.log(ann) == ("skipped", "no device", 1)
        assert await setup.log(bob) == ("skipped", "disabled", 1)
        assert setup.service.got == []

    async def test_two_instances_send_each_once_within_the_concurrency_limit(
        self, setup: NotificationSetup
    ):
        people = [await setup.person() for _ in range(2 * BATCH_SIZE + 5)]
        for one in people:
            await setup.queued(one)
        setup.service.delay = 0.05
        async with trio.open_nursery() as nursery:
            nursery.start_soon(setup.sender().sweep)
            nursery.start_soon(setup.sender().sweep)
        assert sorted(token for token, _ in setup.service.got) == sorted(map(str, people))
        assert 1 < setup.service.most <= 2 * MAX_CONCURRENT_REQUESTS

    async def test_cancelled_sender_requeues_unsent_notifications(self, setup: NotificationSetup):
        ann, bob = await setup.person(), await setup.person()
        await setup.devices.register(bob, "aabb", "ios")
        known = {await setup.queued(ann), await setup.queued(bob)}

        @define
        class Slow(Service):
            async def send(self, messages: Sequence[PushMessage]) -> Sequence[PushResult]:
                (message,) = messages
                if message.token != "aabb":
                    await trio.sleep_forever()
                self.got.append((message.token, message))
                return [SENT]

        setup.service = Slow()
        with trio.move_on_after(0.5):
            await setup.sender().sweep()
        assert await setup.log(ann) == ("queued", "interrupted", 1)
        assert await setup.log(bob) == ("sent", None, 1)
        setup.service = Service()
        assert await setup.sender().sweep() == 1
        assert {message.id for _, message in setup.service.got} < known

    async def test_expired_claim_is_sent_by_another_instance(self, setup: NotificationSetup):
        ann = await setup.person()
        await setup.queued(ann)
        (claimed,) = await setup.queue.claim(["reminder"], NOON, limit=5, devices=1)
        assert await setup.sender().sweep() == 0
        await setup.sql("update notification_logs set claimed_at = now() - interval '6 minutes'")
        assert await setup.sender().sweep() == 1
        assert await setup.log(ann) == ("sent", None, 2)
        assert setup.counts.repeats == [2]
        # The first sender is back, too late.
        await setup.queue.settle([(claimed, SendResult("failed", "late"))])
        assert await setup.log(ann) == ("sent", None, 2)

    async def test_notification_that_crashes_every_sender_is_abandoned(
        self, setup: NotificationSetup
    ):
        ann = await setup.person()
        await setup.queued(ann)
        await setup.sql("update notification_logs set attempts = %(n)s", n=MAX_ATTEMPTS)
        await setup.sender().sweep()
        assert await setup.log(ann) == ("failed", "abandoned", MAX_ATTEMPTS + 1)

    async def test_logs_contain_neither_token_nor_text(self, setup: NotificationSetup):
        ann = await setup.person()
        await setup.devices.register(ann, "aabb", "ios")
        setup.service.responses["aabb"] = PushResult("gone", "Unregistered")
        await setup.queued(ann)
        with capture_logs() as logs:
            await setup.sender().sweep()
        (line,) = [line for line in logs if line["event"] == "notification"]
        assert (line["type"], line["status"], line["devices"], line["rejected"]) == (
            "streak_warning",
            "sent",
            2,
            1,
        )
        assert not any(secret in str(logs) for secret in (str(ann), "aabb", "streak of"))


class TestCheckIns:
    async def test_check_in_is_queued_at_ten_local_time(self, setup: NotificationSetup):
        people = {
            zone: await setup.person(zone)
            for zone in ("UTC", "America/New_York", "Asia/Kolkata", "Nowhere/At_All")
        }
        came: dict[str, datetime] = {}
        for minutes in range(0, 24 * 60, 30):
            setup.now = datetime(2026, 3, 10, tzinfo=UTC) + timedelta(minutes=minutes)
            await setup.schedule().queue_due()
            for zone, person in people.items():
                if zone not in came and await setup.types(person):
                    came[zone] = setup.now
        assert {zone: at.strftime("%H:%M") for zone, at in came.items()} == {
            "UTC": "10:00",
            "America/New_York": "14:00",
            "Asia/Kolkata": "04:30",
            "Nowhere/At_All": "10:00",
        }

    async def test_check_in_has_documented_content_and_expires_with_the_day(
        self, setup: NotificationSetup
    ):
        ann = await setup.person("Europe/Berlin")
        setup.now = datetime(2026, 3, 10, 10, 0, tzinfo=UTC)
        await setup.schedule().queue_due()
        (row,) = await setup.sql(
            "select type, data, dedupe_key, expires_at from notification_logs"
            " where user_id = %(id)s",
            id=ann,
        )
        assert row == (
            "daily_checkin",
            {},
            "daily_checkin:2026-03-10",
            datetime(2026, 3, 10, 23, 0, tzinfo=UTC),
        )
        assert messages.PUSH_STYLES["daily_checkin"].sound == "default"

    async def test_check_in_is_queued_once_a_day_by_concurrent_schedules(
        self, setup: NotificationSetup
    ):
        people = [await setup.person() for _ in range(5)]
        setup.now = NOON.replace(hour=10)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(setup.schedule(size=2).queue_due)
        await setup.schedule(size=2).queue_due()
        assert [await setup.types(one) for one in people] == [["daily_checkin"]] * 5
        setup.now += timedelta(days=1)
        assert await setup.schedule(size=2).queue_due() == 5

    async def test_only_one_instance_queues_at_a_time(self, setup: NotificationSetup):
        await setup.person()
        setup.now = NOON.replace(hour=10)
        async with setup.database.transaction() as tx:
            assert await tx.fetch_value(TRY_LOCK)
            assert await setup.schedule().queue_due() == 0
        assert await setup.schedule().queue_due() == 1

    @pytest.mark.parametrize(
        "change",
        [
            "update users set notifications_enabled = false where id = %(id)s",
            """update users set notification_preferences = '{"daily_checkin": false}'
               where id = %(id)s""",
            "update device_tokens set active = false where user_id = %(id)s",
            "update device_tokens set provider = 'expo' where user_id = %(id)s",
            "insert into daily_cooks (user_id, cook_date) values (%(id)s, '2026-03-10')",
            """insert into ingredient_scans (user_id, detected_ingredients, created_at)
               values (%(id)s, '[]', '2026-03-10T06:00Z')""",
        ],
    )
    async def test_check_in_is_not_queued_for_unreachable_opted_out_or_active_users(
        self, setup: NotificationSetup, change: str
    ):
        ann = await setup.person()
        setup.now = NOON.replace(hour=10)
        await setup.sql(change, id=ann)
        assert await setup.schedule().queue_due() == 0

    async def test_check_in_ignores_yesterdays_scan_and_other_preferences(
        self, setup: NotificationSetup
    ):
        ann = await setup.person()
        await setup.sql(
            "insert into ingredient_scans (user_id, detected_ingredients, created_at)"
            " values (%(id)s, '[]', '2026-03-09T23:00Z')",
            id=ann,
        )
        await setup.sql(
            """update users set notification_preferences = '{"streak_warning": false}'
               where id = %(id)s""",
            id=ann,
        )
        setup.now = NOON.replace(hour=10)
        assert await setup.schedule().queue_due() == 1

    async def test_missed_check_in_is_queued_until_noon(self, setup: NotificationSetup):
        await setup.person()
        setup.now = NOON
        assert await setup.schedule().queue_due() == 0
        setup.now = NOON - timedelta(minutes=1)
        assert await setup.schedule().queue_due() == 1


class TestStreaks:
    async def test_streak_warning_is_queued_two_hours_before_local_midnight(
        self, setup: NotificationSetup
    ):
        ann = await setup.person("America/New_York")
        await setup.streak(ann, 6, date(2026, 3, 9))
        setup.now = datetime(2026, 3, 11, 1, 59, tzinfo=UTC)
        assert await setup.schedule().queue_due() == 0
        setup.now = datetime(2026, 3, 11, 2, 0, tzinfo=UTC)
        assert await setup.schedule().queue_due() == 1
        (row,) = await setup.sql(
            "select type, data, body, expires_at, dedupe_key from notification_logs"
            " where user_id = %(id)s",
            id=ann,
        )
        assert row[:2] == ("streak_warning", {"streak": 6})
        assert "6 days" in row[2]
        assert row[3:] == (datetime(2026, 3, 11, 4, 0, tzinfo=UTC), "streak_warning:2026-03-10")
        assert messages.PUSH_STYLES["streak_warning"].sound == "warning"
        assert await setup.schedule().queue_due() == 0

    async def test_streak_warning_on_the_day_of_a_clock_change(self, setup: NotificationSetup):
        """New York, 2026-03-08, has 23 hours."""
        ann = await setup.person("America/New_York")
        await setup.streak(ann, 1, date(2026, 3, 7))
        setup.now = datetime(2026, 3, 9, 1, 59, tzinfo=UTC)
        assert await setup.schedule().queue_due() == 0
        setup.now = datetime(2026, 3, 9, 2, 0, tzinfo=UTC)
        assert await setup.schedule().queue_due() == 1

    @pytest.mark.parametrize(
        ("days", "last"),
        [(3, date(2026, 3, 10)), (3, date(2026, 3, 8)), (0, date(2026, 3, 9))],
        ids=["cooked today", "broken", "none"],
    )
    async def test_no_warning_without_a_streak_ending_today(
        self, setup: NotificationSetup, days: int, last: date
    ):
        await setup.streak(await setup.person(), days, last)
        setup.now = NOON.replace(hour=23)
        assert await setup.schedule().queue_due() == 0

    async def test_frozen_day_keeps_the_streak(self, setup: NotificationSetup):
        ann = await setup.person()
        await setup.streak(ann, 3, date(2026, 3, 8))
        await setup.sql(
            "insert into daily_cooks (user_id, cook_date, recipes_cooked, freeze_used)"
            " values (%(id)s, '2026-03-09', 0, true)",
            id=ann,
        )
        setup.now = NOON.replace(hour=22)
        assert await setup.schedule().queue_due() == 1


class TestInboxNotifications:
    """Notifications that database triggers write: inbox, sockets, push."""

    async def test_achievement_goes_to_sockets_and_devices_once(self, setup: NotificationSetup):
        ann = await setup.person()
        setup.now = datetime.now(UTC)
        socket = connected(setup.hub, ann)
        for _ in range(2):
            await setup.sql("select award_achievement(%(id)s, 'first_scan')", id=ann)
        assert await setup.sender().sweep() == 1
        known = await setup.value(
            "select id::text from notification_logs where user_id = %(id)s", ann
        )
        ((event, body),) = socket.received
        assert event == "user_notification"
        assert cast("Any", body).pop("timestamp").endswith("Z")
        assert body == {
            "id": known,
            "type": "achievement",
            "title": "Achievement unlocked!",
            "body": "First Scan: +50 XP",
            "data": {"key": "first_scan", "name": "First Scan", "points": 50},
        }
        ((_, message),) = setup.service.got
        assert (message.title, message.body) == ("Achievement unlocked!", "First Scan: +50 XP")
        assert (message.sound, message.urgent) == ("achievement", False)
        assert message.data == {
            "type": "achievement",
            "action": "open_profile",
            "notification_id": known,
        }
        assert await setup.log(ann) == ("sent", None, 1)

    async def test_unwanted_type_is_shown_but_not_pushed(self, setup: NotificationSetup):
        ann = await setup.person()
        setup.now = datetime.now(UTC)
        socket = connected(setup.hub, ann)
        await setup.sql(
            """update users set notification_preferences = '{"achievement": false}'
               where id = %(id)s""",
            id=ann,
        )
        await setup.sql("select award_achievement(%(id)s, 'first_scan')", id=ann)
        await setup.sender().sweep()
        assert len(socket.received) == 1
        assert setup.service.got == []
        assert await setup.log(ann) == ("skipped", "disabled", 1)

    async def test_push_waits_for_the_end_of_the_quiet_hours(self, setup: NotificationSetup):
        ann = await setup.person("Asia/Kolkata")  # 17:30 local time
        await setup.sql(
            "update users set quiet_hours_start = '17:00', quiet_hours_end = '18:15'"
            " where id = %(id)s",
            id=ann,
        )
        socket = connected(setup.hub, ann)
        async with setup.database.transaction() as tx:
            made = messages.payment_failed(ann, {}, "evt_1", NOON)
            assert await setup.queue.add(tx, [*made, *made]) == 1
        assert await setup.sender().sweep() == 1
        assert await setup.log(ann) == ("queued", "quiet hours", 1)
        pause = await setup.value(
            "select round(extract(epoch from next_attempt_at - now()) / 60)::int"
            " from notification_logs where user_id = %(id)s",
            ann,
        )
        assert pause == 45
        setup.now += timedelta(minutes=45)
        await setup.make_due()
        assert await setup.sender().sweep() == 1
        assert await setup.log(ann) == ("sent", None, 2)
        assert len(socket.received) == len(setup.service.got) == 1  # shown once, pushed once

    @pytest.mark.parametrize(
        ("zone", "at", "start", "end", "until"),
        [
            ("UTC", "2026-03-10T12:00Z", None, None, None),
            ("UTC", "2026-03-10T12:00Z", "12:00", "12:00", None),
            ("UTC", "2026-03-10T12:00Z", "12:00", "12:30", "2026-03-10T12:30Z"),
            ("UTC", "2026-03-10T12:00Z", "11:30", "12:00", None),
            ("UTC", "2026-03-10T22:00Z", "22:00", "07:00", "2026-03-11T07:00Z"),
            ("UTC", "2026-03-10T06:59Z", "22:00", "07:00", "2026-03-10T07:00Z"),
            ("UTC", "2026-03-10T07:00Z", "22:00", "07:00", None),
            ("Nowhere/At_All", "2026-03-10T22:00Z", "22:00", "07:00", "2026-03-11T07:00Z"),
            # New York, 2026-03-08: 02:30 does not exist, and the night has an hour less.
            ("America/New_York", "2026-03-08T06:00Z", "00:00", "02:30", "2026-03-08T07:30Z"),
            ("America/New_York", "2026-03-08T03:00Z", "22:00", "07:00", "2026-03-08T11:00Z"),
            # 2026-11-01: 01:30 comes twice, so the end is not before the second time.
            ("America/New_York", "2026-11-01T05:20Z", "00:00", "01:30", "2026-11-01T06:30Z"),
            ("America/New_York", "2026-11-01T06:29:30Z", "00:00", "01:30", "2026-11-01T06:30:30Z"),
        ],
    )
    async def test_end_of_quiet_hours(
        self,
        database: Database,
        zone: str,
        at: str,
        start: str | None,
        end: str | None,
        until: str | None,
    ):
        found = await database.fetch_value_as(
            SERVICE,
            "select quiet_until(%(at)s, %(zone)s, %(start)s::time, %(end)s::time)",
            at=at,
            zone=zone,
            start=start,
            end=end,
        )
        assert found == (None if until is None else datetime.fromisoformat(until))


@pytest.fixture(scope="module")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


def push_settings(fake: FakePush, key_files: Path) -> dict[str, str]:
    firebase, apns = key_files / "firebase.json", key_files / "apns.p8"
    firebase.write_text(fake.service_account)
    apns.write_text(fake.keys.p8)
    return {
        **fake.bindings,
        "FCM_SERVICE_ACCOUNT_KEY": str(firebase),
        "APNS_PRIVATE_KEY": str(apns),
    }


@define
class RunningApp:
    http: httpx.AsyncClient
    setup: NotificationSetup
    gotrue: Any

    async def someone(self) -> ApiUser:
        user = await new_user(self.gotrue, "Ann")
        return ApiUser(self.http, self.gotrue.issue_token(user), user)


@pytest.fixture
async def running(setup: NotificationSetup) -> AsyncIterator[RunningApp]:
    """The whole program, without push."""
    async with (
        open_project(setup.url) as gotrue,
        whole_server(environment(setup.url, gotrue)) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        yield RunningApp(http, setup, gotrue)


PHONE = {"token": "d" * 64, "platform": "ios"}
TABLET = {"token": "fcm-token:APA91b", "platform": "android"}
LISTED = "select token, platform, provider, active from device_tokens where user_id = %(id)s"


class TestDevices:
    async def test_device_is_registered_and_removed(self, running: RunningApp):
        ann = await running.someone()
        for body in (PHONE, TABLET, TABLET):
            response = await ann.post("/users/devices", body)
            assert (response.status_code, response.json()["success"]) == (200, True), response.text
        listed = await running.setup.sql(f"{LISTED} order by token", id=ann.id)
        assert listed == [
            (PHONE["token"], "ios", "apns", True),
            (TABLET["token"], "android", "fcm", True),
        ]
        for _ in range(2):
            response = await ann.request("DELETE", "/users/devices", json=PHONE)
            assert (response.status_code, response.json()["success"]) == (200, True), response.text
        listed = await running.setup.sql(LISTED, id=ann.id)
        assert [row[0] for row in listed] == [TABLET["token"]]

    async def test_token_belongs_to_its_last_registrant(self, running: RunningApp):
        ann, bob = await running.someone(), await running.someone()
        await ann.post("/users/devices", PHONE)
        await bob.post("/users/devices", PHONE)
        assert await running.setup.sql(LISTED, id=ann.id) == []
        await ann.request("DELETE", "/users/devices", json=PHONE)
        assert len(await running.setup.sql(LISTED, id=bob.id)) == 1

    async def test_expo_tokens_are_stored_as_expo(self, running: RunningApp):
        ann = await running.someone()
        await ann.post("/users/devices", {"token": "ExponentPushToken[x]", "platform": "ios"})
        ((_, _, provider, _),) = await running.setup.sql(LISTED, id=ann.id)
        assert provider == "expo"

    async def test_only_the_newest_devices_of_a_user_stay_active(self, running: RunningApp):
        ann = await running.someone()
        for number in range(MAX_ACTIVE_DEVICES + 2):
            await ann.post("/users/devices", {"token": f"t{number}", "platform": "android"})
        active = await running.setup.sql(
            "select token from device_tokens where user_id = %(id)s and not active", id=ann.id
        )
        assert sorted(active) == [("t0",), ("t1",)]

    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"token": "x"},
            {"token": "", "platform": "ios"},
            {"token": "x" * 4097, "platform": "ios"},
            {"token": "x", "platform": "web"},
            {"token": "x\0", "platform": "ios"},
            [],
        ],
    )
    async def test_invalid_device_is_rejected(self, running: RunningApp, body: Any):
        ann = await running.someone()
        for method in ("POST", "DELETE"):
            response = await ann.request(method, "/users/devices", json=body)
            assert (response.status_code, response.json()["success"]) == (400, False), response.text

    async def test_device_routes_require_authentication(self, running: RunningApp):
        for method in ("POST", "DELETE"):
            response = await Client(running.http).request(method, "/users/devices", json=PHONE)
            assert response.status_code == 401

    async def test_without_configuration_nothing_is_queued(self, running: RunningApp):
        ann = await running.someone()
        await ann.post("/users/devices", TABLET)
        unable = Schedule(
            ScheduleStore(QueueStore(running.setup.database, [])), lambda: NOON.replace(hour=10)
        )
        assert await unable.queue_due() == 0


async def test_running_program_sends_an_achievement_to_both_platforms(
    setup: NotificationSetup, key_files: Path
):
    """From the registration to the device, with both protocols and the program's own tasks."""
    async with open_push() as fake, open_project(setup.url) as gotrue:
        environ = environment(setup.url, gotrue, **push_settings(fake, key_files))
        async with (
            whole_server(environ) as server,
            httpx.AsyncClient(base_url=server.url, timeout=30) as http,
        ):
            user = await new_user(gotrue, "Ann")
            ann = ApiUser(http, gotrue.issue_token(user), user)
            for body in (PHONE, TABLET, {"token": "gone:1", "platform": "android"}):
                assert (await ann.post("/users/devices", body)).status_code == 200
            fake.gone.add("gone:1")
            await setup.sql("select award_achievement(%(id)s, 'first_scan')", id=ann.id)
            with trio.fail_after(20):
                while await setup.sql("select 1 from device_tokens where token = 'gone:1'"):
                    await trio.sleep(0.05)
    sent_achievements = [one for one in fake.sent if one.data["type"] == "achievement"]
    assert {(one.provider, one.token) for one in sent_achievements} == {
        ("apns", PHONE["token"]),
        ("fcm", TABLET["token"]),
    }
    assert {one.collapse for one in sent_achievements} == {sent_achievements[0].collapse}
    assert await setup.sql("select status from notification_logs where type = 'achievement'") == [
        ("sent",)
    ]


async def test_receipts_of_expo_delete_dead_devices_and_record_errors(setup: NotificationSetup):
    people = [await setup.person() for _ in range(4)]
    ok, dead, back, refused = tokens = [f"ExponentPushToken[{one}]" for one in people]
    await setup.sql("delete from device_tokens")
    for one, token in zip(people, tokens, strict=True):
        await setup.devices.register(one, token, "ios")
        await setup.queued(one)
    async with open_push() as fake, Expo.open(url=fake.url) as expo:
        queue = QueueStore(setup.database, ["expo"])
        sender = Sender(queue, setup.hub, {"expo": expo}, lambda: setup.now, setup.counts)
        verdicts: list[str] = []
        receipts = Receipts(ReceiptStore(setup.database), expo, verdicts.append)
        fake.gone_later.update((dead, back))
        assert await sender.sweep() == 4
        tickets = dict(await setup.sql("select token, id from push_tickets"))
        assert tickets.keys() == set(tokens)
        assert await receipts.fetch_due() == 0  # not yet

        too_big = {"status": "error", "message": "x", "details": {"error": "MessageTooBig"}}
        fake.receipts[tickets[refused]] = too_big
        late = fake.receipts.pop(tickets[ok])  # is not there yet
        await setup.devices.register(people[2], back, "ios")  # registered again
        await setup.sql("update push_tickets set next_check_at = now()")
        assert await receipts.fetch_due() == 3
        assert sorted(verdicts) == ["gone", "gone", "refused"]
        assert await setup.sql("select token from device_tokens order by token") == [
            (token,) for token in sorted((ok, back, refused))
        ]
        assert await setup.log(people[3]) == ("sent", "MessageTooBig", 1)
        assert await setup.log(people[0]) == ("sent", None, 1)

        assert await setup.sql("select id from push_tickets") == [(tickets[ok],)]
        fake.receipts[tickets[ok]] = late
        assert await receipts.fetch_due() == 0  # asked a moment ago
        await setup.sql("update push_tickets set next_check_at = now()")
        assert await receipts.fetch_due() == 1
        assert await setup.sql("select id from push_tickets") == []


@define
class MailBox:
    """A mail service whose next responses are set."""

    failures: list[Exception]
    sent: list[Mail]

    async def send(self, mail: Mail) -> None:
        if self.failures:
            raise self.failures.pop(0)
        self.sent.append(mail)


async def test_failed_payment_is_mailed_after_an_outage_and_a_rejection_is_final(
    setup: NotificationSetup,
):
    setup.now = datetime.now(UTC)
    ann, bob = await setup.person(), await setup.person()
    queue = QueueStore(setup.database, [], mail=True)
    box = MailBox([ProviderUnavailable()], [])
    sender = MailSender(queue, box, lambda: setup.now, setup.counts, "https://cook.test")

    async def fails(user_id: UUID) -> None:
        async with setup.database.transaction() as tx:
            data = {"next_payment_attempt": datetime(2026, 3, 12, tzinfo=UTC)}
            await queue.add(tx, messages.payment_failed(user_id, data, "evt_1", setup.now))

    async def log(user_id: UUID) -> list[tuple[str, str | None, int]]:
        return await setup.sql(
            "select status, error_message, attempts from notification_logs"
            " where user_id = %(id)s and channel = 'mail'",
            id=user_id,
        )

    await fails(ann)
    await fails(ann)  # the same event
    assert await sender.sweep() == 1
    assert await log(ann) == [("queued", "unavailable", 1)]
    await setup.make_due()
    assert await sender.sweep() == 1
    assert await log(ann) == [("sent", None, 2)]
    (mail,) = box.sent
    assert (mail.subject, mail.to) == (
        "Your CookCam payment failed",
        await setup.value("select email from users where id = %(id)s", ann),
    )
    assert "We will try again on 12 March 2026." in mail.text
    assert "We will try again on 12 March 2026." in mail.html

    await fails(bob)
    box.failures = [MailRejected(reason="550")]
    await sender.sweep()
    assert await log(bob) == [("failed", "550", 1)]
    # Without a mail server none is queued, and the rest is.
    async with setup.database.transaction() as tx:
        given = messages.payment_failed(bob, {}, "evt_2", setup.now)
        assert await QueueStore(setup.database, []).add(tx, given) == 1
