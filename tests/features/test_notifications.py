"""Push notifications: devices, the queue, who is told what when, and what becomes of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest
import trio
from attrs import define, field
from psycopg import sql
from psycopg.rows import tuple_row
from structlog.testing import capture_logs

from cookcam.config import DatabaseConfig
from cookcam.database import Database
from cookcam.database.connection import Connection
from cookcam.features.notifications import messages
from cookcam.features.notifications.device_store import MAX_ACTIVE_DEVICES, DeviceStore
from cookcam.features.notifications.queue_store import QueueStore
from cookcam.features.notifications.schedule import Schedule
from cookcam.features.notifications.schedule_store import TRY_LOCK, ScheduleStore
from cookcam.features.notifications.sender import BATCH_SIZE, MAX_ATTEMPTS, Sender
from cookcam.providers.push import Outcome, PushMessage, PushProvider
from cookcam.providers.store_calls import StoreUnavailable
from cookcam.sandbox.push import PushStandIn, open_push
from cookcam.settings.readers import Secret
from tests.features.conftest import Client, Person
from tests.identity.project import new_user, open_project
from tests.support.postgres import as_owner
from tests.support.users import create_user
from tests.support.whole_server import environment, whole_server

NOON = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
SENT = Outcome("sent")


@define
class Service:
    """A provider whose every answer a test may choose; devices that are not named take all."""

    answers: dict[str, Outcome | Exception] = field(factory=dict[str, Outcome | Exception])
    got: list[tuple[str, PushMessage]] = field(factory=list[tuple[str, PushMessage]])
    delay: float = 0.0
    most: int = 0
    _now: int = 0

    async def send(self, token: str, message: PushMessage) -> Outcome:
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            await trio.sleep(self.delay)
            answer = self.answers.get(token, SENT)
            if isinstance(answer, Exception):
                raise answer
            if answer.verdict == "sent":
                self.got.append((token, message))
            return answer
        finally:
            self._now -= 1


@define
class Office:
    """One instance: devices, queue, sender and schedule over a database of the test's own."""

    database: Database
    url: str
    now: datetime = NOON
    service: Service = field(factory=Service)

    @property
    def devices(self) -> DeviceStore:
        return DeviceStore(self.database)

    @property
    def queue(self) -> QueueStore:
        return QueueStore(self.database, ["fcm", "apns"])

    def sender(self) -> Sender:
        services: dict[PushProvider, Service] = {"fcm": self.service, "apns": self.service}
        return Sender(self.queue, services, lambda: self.now)

    def schedule(self, size: int = 500) -> Schedule:
        return Schedule(ScheduleStore(self.queue), lambda: self.now, size=size)

    async def person(self, zone: str = "UTC", **columns: Any) -> UUID:
        """With an Android phone, whose token is the person's id."""
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
async def office(fresh_database_url: str) -> AsyncIterator[Office]:
    config = DatabaseConfig(url=Secret(fresh_database_url), pool_min=1, pool_max=8)
    async with Database.open(config) as database:
        yield Office(database, fresh_database_url)


class TestSending:
    async def test_every_device_of_the_person_gets_it(self, office: Office):
        ann, bob = await office.person(), await office.person()
        await office.devices.register(ann, "aabb", "ios")
        known = await office.queued(ann)
        assert await office.sender().sweep() == 1
        assert {token for token, _ in office.service.got} == {str(ann), "aabb"}
        message = office.service.got[0][1]
        assert (message.id, message.sound, message.urgent) == (known, "warning", True)
        assert message.data == {
            "type": "streak_warning",
            "action": "open_camera",
            "urgency": "high",
        }
        assert await office.log(ann) == ("sent", None, 1)
        assert await office.value(
            "select sent_at is not null from notification_logs where user_id = %(id)s", ann
        )
        assert await office.types(bob) == []
        assert await office.sender().sweep() == 0

    async def test_a_device_that_is_gone_is_put_aside_and_the_others_get_it(self, office: Office):
        ann = await office.person()
        await office.devices.register(ann, "aabb", "ios")
        office.service.answers["aabb"] = Outcome("gone", "Unregistered")
        await office.queued(ann)
        await office.sender().sweep()
        assert await office.log(ann) == ("sent", None, 1)
        tokens = "select token, active from device_tokens where user_id = %(id)s order by active"
        assert await office.sql(tokens, id=ann) == [("aabb", False), (str(ann), True)]

    async def test_one_that_registers_again_meanwhile_is_not(self, office: Office):
        ann = await office.person()
        office.service.answers[str(ann)] = Outcome("gone", "UNREGISTERED")
        office.service.delay = 0.2
        await office.queued(ann)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(office.sender().sweep)
            await trio.sleep(0.1)
            await office.devices.register(ann, str(ann), "android")
        assert await office.log(ann) == ("failed", "UNREGISTERED", 1)
        assert await office.value("select active from device_tokens where user_id = %(id)s", ann)

    async def test_a_refusal_is_written_down_and_ends_no_device(self, office: Office):
        ann = await office.person()
        office.service.answers[str(ann)] = Outcome("refused", "INVALID_ARGUMENT")
        await office.queued(ann)
        await office.sender().sweep()
        assert await office.log(ann) == ("failed", "INVALID_ARGUMENT", 1)
        assert await office.value("select active from device_tokens where user_id = %(id)s", ann)

    async def test_an_outage_is_waited_for_longer_and_longer_and_not_for_ever(self, office: Office):
        ann = await office.person()
        office.service.answers[str(ann)] = StoreUnavailable()
        await office.queued(ann)
        pauses: list[float] = []
        for attempt in range(1, MAX_ATTEMPTS):
            assert await office.sender().sweep() == 1
            assert await office.sender().sweep() == 0  # not due yet
            assert await office.log(ann) == ("queued", "fcm", attempt)
            pauses.append(
                await office.value(
                    "select extract(epoch from next_attempt_at - now())::float"
                    " from notification_logs where user_id = %(id)s",
                    ann,
                )
            )
            await office.make_due()
        for pause, longest in zip(pauses, (30, 60, 120, 240, 480, 960, 1920), strict=True):
            assert longest / 2 - 5 <= pause <= longest
        await office.sender().sweep()
        assert await office.log(ann) == ("failed", "fcm", MAX_ATTEMPTS)

    async def test_the_advice_of_the_provider_is_followed(self, office: Office):
        ann = await office.person()
        office.service.answers[str(ann)] = StoreUnavailable(advice=600)
        await office.queued(ann)
        await office.sender().sweep()
        waits = "select next_attempt_at > now() + interval '9 minutes' from notification_logs"
        assert await office.value(f"{waits} where user_id = %(id)s", ann)

    async def test_a_bug_of_ours_stops_neither_the_sender_nor_the_others(self, office: Office):
        ann, bob = await office.person(), await office.person()
        office.service.answers[str(ann)] = RuntimeError(f"about {ann}")
        await office.queued(ann)
        await office.queued(bob)
        with capture_logs() as logs:
            assert await office.sender().sweep() == 2
        assert (await office.log(ann))[:2] == ("queued", "RuntimeError")
        assert (await office.log(bob))[:2] == ("sent", None)
        assert str(ann) not in str(logs)

    async def test_what_has_expired_is_not_sent(self, office: Office):
        ann = await office.person()
        await office.queued(ann)
        office.now = NOON + timedelta(hours=12)
        await office.sender().sweep()
        assert await office.log(ann) == ("skipped", "expired", 1)
        assert office.service.got == []

    async def test_nor_to_who_has_no_device_any_more_or_wants_none(self, office: Office):
        ann, bob = await office.person(), await office.person()
        await office.queued(ann)
        await office.queued(bob)
        await office.devices.remove(ann, str(ann))
        await office.sql("update users set notifications_enabled = false where id = %(id)s", id=bob)
        await office.sender().sweep()
        assert await office.log(ann) == await office.log(bob) == ("skipped", "no device", 1)
        assert office.service.got == []

    async def test_two_instances_send_each_once_and_not_too_many_at_a_time(self, office: Office):
        people = [await office.person() for _ in range(2 * BATCH_SIZE + 5)]
        for one in people:
            await office.queued(one)
        office.service.delay = 0.05
        async with trio.open_nursery() as nursery:
            nursery.start_soon(office.sender().sweep)
            nursery.start_soon(office.sender().sweep)
        assert sorted(token for token, _ in office.service.got) == sorted(map(str, people))
        assert 1 < office.service.most <= 2 * BATCH_SIZE

    async def test_a_sender_that_is_stopped_gives_back_what_it_has_not_sent(self, office: Office):
        ann, bob = await office.person(), await office.person()
        await office.devices.register(bob, "aabb", "ios")
        known = {await office.queued(ann), await office.queued(bob)}

        @define
        class Slow(Service):
            async def send(self, token: str, message: PushMessage) -> Outcome:
                if token != "aabb":
                    await trio.sleep_forever()
                self.got.append((token, message))
                return SENT

        office.service = Slow()
        with trio.move_on_after(0.5):
            await office.sender().sweep()
        assert await office.log(ann) == ("queued", "interrupted", 1)
        assert await office.log(bob) == ("sent", None, 1)
        office.service = Service()
        assert await office.sender().sweep() == 1
        assert {message.id for _, message in office.service.got} < known

    async def test_what_a_sender_took_along_when_it_died_is_sent_by_another(self, office: Office):
        ann = await office.person()
        await office.queued(ann)
        (claimed,) = await office.queue.claim(5)
        assert await office.sender().sweep() == 0
        await office.sql("update notification_logs set claimed_at = now() - interval '6 minutes'")
        assert await office.sender().sweep() == 1
        assert await office.log(ann) == ("sent", None, 2)
        await office.queue.settle(claimed, _late())  # back from the dead: too late
        assert await office.log(ann) == ("sent", None, 2)

    async def test_one_that_kills_every_sender_is_given_up(self, office: Office):
        ann = await office.person()
        await office.queued(ann)
        await office.sql("update notification_logs set attempts = %(n)s", n=MAX_ATTEMPTS)
        await office.sender().sweep()
        assert await office.log(ann) == ("failed", "abandoned", MAX_ATTEMPTS + 1)

    async def test_logs_have_neither_token_nor_text(self, office: Office):
        ann = await office.person()
        await office.devices.register(ann, "aabb", "ios")
        office.service.answers["aabb"] = Outcome("gone", "Unregistered")
        await office.queued(ann)
        with capture_logs() as logs:
            await office.sender().sweep()
        (line,) = [line for line in logs if line["event"] == "notification"]
        assert (line["type"], line["status"], line["devices"], line["rejected"]) == (
            "streak_warning",
            "sent",
            2,
            1,
        )
        assert not any(secret in str(logs) for secret in (str(ann), "aabb", "streak of"))


def _late() -> Any:
    from cookcam.features.notifications.queue_store import SendResult

    return SendResult("failed", "late")


class TestCheckIns:
    async def test_comes_at_ten_where_the_person_is(self, office: Office):
        people = {
            zone: await office.person(zone)
            for zone in ("UTC", "America/New_York", "Asia/Kolkata", "Nowhere/At_All")
        }
        came: dict[str, datetime] = {}
        for minutes in range(0, 24 * 60, 30):
            office.now = datetime(2026, 3, 10, tzinfo=UTC) + timedelta(minutes=minutes)
            await office.schedule().queue_due()
            for zone, person in people.items():
                if zone not in came and await office.types(person):
                    came[zone] = office.now
        assert {zone: at.strftime("%H:%M") for zone, at in came.items()} == {
            "UTC": "10:00",
            "America/New_York": "14:00",
            "Asia/Kolkata": "04:30",
            "Nowhere/At_All": "10:00",
        }

    async def test_says_what_the_table_says_and_ends_with_the_day(self, office: Office):
        ann = await office.person("Europe/Berlin")
        office.now = datetime(2026, 3, 10, 10, 0, tzinfo=UTC)
        await office.schedule().queue_due()
        (row,) = await office.sql(
            "select type, data, dedupe_key, expires_at from notification_logs"
            " where user_id = %(id)s",
            id=ann,
        )
        assert row == (
            "daily_checkin",
            {"type": "daily_checkin", "action": "open_camera"},
            "daily_checkin:2026-03-10",
            datetime(2026, 3, 10, 23, 0, tzinfo=UTC),
        )
        assert messages.SOUNDS["daily_checkin"] == "default"

    async def test_once_a_day_whoever_looks_and_how_often(self, office: Office):
        people = [await office.person() for _ in range(5)]
        office.now = NOON.replace(hour=10)
        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(office.schedule(size=2).queue_due)
        await office.schedule(size=2).queue_due()
        assert [await office.types(one) for one in people] == [["daily_checkin"]] * 5
        office.now += timedelta(days=1)
        assert await office.schedule(size=2).queue_due() == 5

    async def test_one_instance_at_a_time(self, office: Office):
        await office.person()
        office.now = NOON.replace(hour=10)
        async with office.database.transaction() as tx:
            assert await tx.fetch_value(TRY_LOCK)
            assert await office.schedule().queue_due() == 0
        assert await office.schedule().queue_due() == 1

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
    async def test_not_for_who_cannot_or_does_not_want_to_or_was_here(
        self, office: Office, change: str
    ):
        ann = await office.person()
        office.now = NOON.replace(hour=10)
        await office.sql(change, id=ann)
        assert await office.schedule().queue_due() == 0

    async def test_yesterday_s_scan_and_another_preference_are_no_reason(self, office: Office):
        ann = await office.person()
        await office.sql(
            "insert into ingredient_scans (user_id, detected_ingredients, created_at)"
            " values (%(id)s, '[]', '2026-03-09T23:00Z')",
            id=ann,
        )
        await office.sql(
            """update users set notification_preferences = '{"streak_warning": false}'
               where id = %(id)s""",
            id=ann,
        )
        office.now = NOON.replace(hour=10)
        assert await office.schedule().queue_due() == 1

    async def test_a_missed_morning_is_made_up_for_until_noon(self, office: Office):
        await office.person()
        office.now = NOON
        assert await office.schedule().queue_due() == 0
        office.now = NOON - timedelta(minutes=1)
        assert await office.schedule().queue_due() == 1


class TestStreaks:
    async def test_two_hours_before_midnight_where_the_person_is(self, office: Office):
        ann = await office.person("America/New_York")
        await office.streak(ann, 6, date(2026, 3, 9))
        office.now = datetime(2026, 3, 11, 1, 59, tzinfo=UTC)
        assert await office.schedule().queue_due() == 0
        office.now = datetime(2026, 3, 11, 2, 0, tzinfo=UTC)
        assert await office.schedule().queue_due() == 1
        (row,) = await office.sql(
            "select type, data, body, expires_at, dedupe_key from notification_logs"
            " where user_id = %(id)s",
            id=ann,
        )
        assert row[:2] == (
            "streak_warning",
            {"type": "streak_warning", "action": "open_camera", "urgency": "high"},
        )
        assert "6 days" in row[2]
        assert row[3:] == (datetime(2026, 3, 11, 4, 0, tzinfo=UTC), "streak_warning:2026-03-10")
        assert messages.SOUNDS["streak_warning"] == "warning"
        assert await office.schedule().queue_due() == 0

    async def test_on_the_day_the_clocks_change_too(self, office: Office):
        """New York, 2026-03-08, has 23 hours."""
        ann = await office.person("America/New_York")
        await office.streak(ann, 1, date(2026, 3, 7))
        office.now = datetime(2026, 3, 9, 1, 59, tzinfo=UTC)
        assert await office.schedule().queue_due() == 0
        office.now = datetime(2026, 3, 9, 2, 0, tzinfo=UTC)
        assert await office.schedule().queue_due() == 1

    @pytest.mark.parametrize(
        ("days", "last"),
        [(3, date(2026, 3, 10)), (3, date(2026, 3, 8)), (0, date(2026, 3, 9))],
        ids=["cooked today", "broken", "none"],
    )
    async def test_not_where_there_is_nothing_to_lose(self, office: Office, days: int, last: date):
        await office.streak(await office.person(), days, last)
        office.now = NOON.replace(hour=23)
        assert await office.schedule().queue_due() == 0

    async def test_a_frozen_day_kept_it_alive(self, office: Office):
        ann = await office.person()
        await office.streak(ann, 3, date(2026, 3, 8))
        await office.sql(
            "insert into daily_cooks (user_id, cook_date, recipes_cooked, freeze_used)"
            " values (%(id)s, '2026-03-09', 0, true)",
            id=ann,
        )
        office.now = NOON.replace(hour=22)
        assert await office.schedule().queue_due() == 1


class TestAchievements:
    async def test_one_just_won_is_told_once_with_its_name_and_xp(self, office: Office):
        ann = await office.person()
        office.now = datetime.now(UTC)
        await office.sql("select award_achievement(%(id)s, 'first_scan')", id=ann)
        await office.schedule().queue_due()
        rows = await office.sql(
            "select title, body, data from notification_logs"
            " where user_id = %(id)s and type = 'achievement'",
            id=ann,
        )
        assert rows == [
            (
                "Achievement unlocked!",
                "First Scan: +50 XP",
                {"type": "achievement", "action": "open_profile"},
            )
        ]
        assert messages.SOUNDS["achievement"] == "achievement"
        assert await office.schedule().queue_due() == 0

    async def test_an_old_one_and_one_that_is_not_wanted_are_not(self, office: Office):
        ann, bob = await office.person(), await office.person()
        for one in (ann, bob):
            await office.sql("select award_achievement(%(id)s, 'first_scan')", id=one)
        await office.sql(
            "update user_achievements set unlocked_at = now() - interval '2 hours'"
            " where user_id = %(id)s",
            id=ann,
        )
        await office.sql(
            """update users set notification_preferences = '{"achievement": false}'
               where id = %(id)s""",
            id=bob,
        )
        office.now = datetime.now(UTC)
        await office.schedule().queue_due()
        for one in (ann, bob):
            assert "achievement" not in await office.types(one)


@pytest.fixture(scope="module")
def key_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


def push_settings(stand_in: PushStandIn, key_files: Path) -> dict[str, str]:
    firebase, apns = key_files / "firebase.json", key_files / "apns.p8"
    firebase.write_text(stand_in.service_account)
    apns.write_text(stand_in.keys.p8)
    return {
        **stand_in.bindings,
        "FCM_SERVICE_ACCOUNT_KEY": str(firebase),
        "APNS_PRIVATE_KEY": str(apns),
    }


@define
class Running:
    http: httpx.AsyncClient
    office: Office
    gotrue: Any

    async def someone(self) -> Person:
        user = await new_user(self.gotrue, "Ann")
        return Person(self.http, self.gotrue.issue_token(user), user)


@pytest.fixture
async def running(office: Office) -> AsyncIterator[Running]:
    """The whole program, without push."""
    async with (
        open_project(office.url) as gotrue,
        whole_server(environment(office.url, gotrue)) as server,
        httpx.AsyncClient(base_url=server.url, timeout=30) as http,
    ):
        yield Running(http, office, gotrue)


PHONE = {"token": "d" * 64, "platform": "ios"}
TABLET = {"token": "fcm-token:APA91b", "platform": "android"}
LISTED = "select token, platform, provider, active from device_tokens where user_id = %(id)s"


class TestDevices:
    async def test_are_registered_and_removed(self, running: Running):
        ann = await running.someone()
        for body in (PHONE, TABLET, TABLET):
            answer = await ann.post("/users/devices", body)
            assert (answer.status_code, answer.json()["success"]) == (200, True), answer.text
        listed = await running.office.sql(f"{LISTED} order by token", id=ann.id)
        assert listed == [
            (PHONE["token"], "ios", "apns", True),
            (TABLET["token"], "android", "fcm", True),
        ]
        for _ in range(2):
            answer = await ann.request("DELETE", "/users/devices", json=PHONE)
            assert (answer.status_code, answer.json()["success"]) == (200, True), answer.text
        listed = await running.office.sql(LISTED, id=ann.id)
        assert [row[0] for row in listed] == [TABLET["token"]]

    async def test_a_token_belongs_to_who_registered_it_last(self, running: Running):
        ann, bob = await running.someone(), await running.someone()
        await ann.post("/users/devices", PHONE)
        await bob.post("/users/devices", PHONE)
        assert await running.office.sql(LISTED, id=ann.id) == []
        await ann.request("DELETE", "/users/devices", json=PHONE)
        assert len(await running.office.sql(LISTED, id=bob.id)) == 1

    async def test_expo_s_tokens_are_kept_as_such(self, running: Running):
        ann = await running.someone()
        await ann.post("/users/devices", {"token": "ExponentPushToken[x]", "platform": "ios"})
        ((_, _, provider, _),) = await running.office.sql(LISTED, id=ann.id)
        assert provider == "expo"

    async def test_a_person_has_so_many_and_the_newest_count(self, running: Running):
        ann = await running.someone()
        for number in range(MAX_ACTIVE_DEVICES + 2):
            await ann.post("/users/devices", {"token": f"t{number}", "platform": "android"})
        active = await running.office.sql(
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
    async def test_what_is_no_device_is_refused(self, running: Running, body: Any):
        ann = await running.someone()
        for method in ("POST", "DELETE"):
            answer = await ann.request(method, "/users/devices", json=body)
            assert (answer.status_code, answer.json()["success"]) == (400, False), answer.text

    async def test_are_for_people_who_are_signed_in(self, running: Running):
        for method in ("POST", "DELETE"):
            answer = await Client(running.http).request(method, "/users/devices", json=PHONE)
            assert answer.status_code == 401

    async def test_without_configuration_nothing_is_queued(self, running: Running):
        ann = await running.someone()
        await ann.post("/users/devices", TABLET)
        unable = Schedule(
            ScheduleStore(QueueStore(running.office.database, [])), lambda: NOON.replace(hour=10)
        )
        assert await unable.queue_due() == 0


async def test_the_program_tells_of_an_achievement_on_both_kinds_of_phone(
    office: Office, key_files: Path, monkeypatch: pytest.MonkeyPatch
):
    """From the registration to the device, with both protocols and the program's own tasks."""
    from cookcam.features.notifications import schedule, sender

    monkeypatch.setattr(schedule, "POLL_INTERVAL", 0.2)
    monkeypatch.setattr(sender, "POLL_INTERVAL", 0.2)
    async with open_push() as stand_in, open_project(office.url) as gotrue:
        environ = environment(office.url, gotrue, **push_settings(stand_in, key_files))
        async with (
            whole_server(environ) as server,
            httpx.AsyncClient(base_url=server.url, timeout=30) as http,
        ):
            user = await new_user(gotrue, "Ann")
            ann = Person(http, gotrue.issue_token(user), user)
            for body in (PHONE, TABLET, {"token": "gone:1", "platform": "android"}):
                assert (await ann.post("/users/devices", body)).status_code == 200
            stand_in.gone.add("gone:1")
            await office.sql("select award_achievement(%(id)s, 'first_scan')", id=ann.id)
            with trio.fail_after(20):
                while await office.sql(
                    "select 1 from device_tokens where token = 'gone:1' and active"
                ):
                    await trio.sleep(0.05)
    told = [one for one in stand_in.sent if one.data["type"] == "achievement"]
    assert {(one.provider, one.token) for one in told} == {
        ("apns", PHONE["token"]),
        ("fcm", TABLET["token"]),
    }
    assert {one.collapse for one in told} == {told[0].collapse}
    assert await office.sql("select status from notification_logs where type = 'achievement'") == [
        ("sent",)
    ]
