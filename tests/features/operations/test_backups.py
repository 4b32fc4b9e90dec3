"""`/backup`: the server dumps its database in the background; only administrators may ask."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.lowlevel
from attrs import frozen

from cookcam.config import DatabaseConfig
from cookcam.config.secret import Secret
from cookcam.database import Database
from cookcam.database.dumps import DumpTools, manifest_path, verify_dump
from cookcam.errors import Conflict
from cookcam.features.operations.backups.models import BackupPlan
from cookcam.features.operations.backups.service import Backups
from cookcam.features.operations.backups.store import BackupStore
from cookcam.observability.metrics import Metrics
from cookcam.sandbox.postgres import find_binaries
from tests.features.conftest import ApiUser
from tests.identity.project import new_user, open_project
from tests.support.postgres import as_owner
from tests.support.whole_server import ServerUnderTest, environment, whole_server

NO_ADMIN = "Admin access required"


def files_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


@frozen
class BackupServer:
    server: ServerUnderTest
    admin: ApiUser
    ann: ApiUser
    directory: Path

    async def finished(self, backup_id: str) -> dict[str, Any]:
        with trio.fail_after(60):
            while True:
                body = (await self.admin.get(f"/backup/status/{backup_id}")).json()
                if body["status"] != "running":
                    return body
                await trio.sleep(0.1)


@pytest.fixture
async def backups(fresh_database_url: str, tmp_path: Path) -> AsyncIterator[BackupServer]:
    directory = tmp_path / "backups"
    directory.mkdir()
    async with open_project(fresh_database_url) as gotrue:
        settings = environment(
            fresh_database_url,
            gotrue,
            BACKUP_DIRECTORY=str(directory),
            BACKUP_DATABASE_URL=as_owner(fresh_database_url),
            POSTGRES_TOOLS_DIRECTORY=str(find_binaries()),
        )
        async with whole_server(settings) as server:
            server.http.base_url = server.url

            async def user(name: str, role: str | None = None) -> ApiUser:
                account = await new_user(gotrue, name, role)
                return ApiUser(server.http, gotrue.issue_token(account), account)

            yield BackupServer(server, await user("Ada", "admin"), await user("Ann"), directory)


async def enable(backups: BackupServer) -> None:
    response = await backups.admin.put("/backup/config", {"enabled": True})
    assert response.status_code == 200, response.text


async def test_backup_is_made_listed_and_compared(backups: BackupServer) -> None:
    await enable(backups)
    started = await backups.admin.post("/backup/start", {})
    assert started.status_code == 200, started.text
    backup_id = started.json()["backupId"]
    done = await backups.finished(backup_id)
    assert (done["status"], done["type"]) == ("completed", "full")
    assert {"users", "recipes", "user_progress"} <= set(done["tablesBackedUp"])
    file = backups.directory / f"{backup_id}.dump"
    assert (await verify_dump(file)).size == done["size"] == file.stat().st_size

    listed = (await backups.admin.get("/backup/list?limit=5")).json()
    assert listed == {"backups": [done], "count": 1}

    created = await backups.ann.post("/recipes", {"title": "Soup"})
    assert created.status_code == 201
    restore = {"backupId": backup_id, "dryRun": True}
    dry = (await backups.admin.post("/backup/restore", restore)).json()
    assert dry["success"] is True
    assert set(dry["affectedTables"]) == set(done["tablesBackedUp"])
    rows = {row["name"]: (row["rowsInBackup"], row["rowsNow"]) for row in dry["rows"]}
    assert rows["recipes"] == (0, 1)
    part = await backups.admin.post("/backup/restore", {**restore, "tables": ["users"]})
    assert part.json()["affectedTables"] == ["users"]
    none = await backups.admin.post("/backup/restore", {**restore, "tables": ["no_table"]})
    assert none.status_code == 400

    real = await backups.admin.post("/backup/restore", {"backupId": backup_id})
    assert (real.status_code, real.json()["code"]) == (501, "NOT_IMPLEMENTED")
    file.unlink()
    gone = await backups.admin.post("/backup/restore", restore)
    assert gone.status_code == 409


async def test_unknown_backups_and_bodies_are_rejected(backups: BackupServer) -> None:
    admin = backups.admin
    for response in (
        await admin.get("/backup/status/backup_1"),
        await admin.post("/backup/restore", {"backupId": "backup_1", "dryRun": True}),
        await admin.post("/backup/restore", {"backupId": "backup_1"}),
    ):
        assert (response.status_code, response.json()["error"]) == (404, "Backup not found")
    for method, path, body, error in (
        ("POST", "/backup/restore", {}, "Backup ID is required"),
        ("POST", "/backup/start", {"type": "some"}, "Invalid backup type"),
        ("PUT", "/backup/config", {"tables": ["users"]}, "A backup always has every table"),
        ("PUT", "/backup/config", {"tables": ["pg_authid"]}, "A backup always has every table"),
        ("PUT", "/backup/config", {"incremental": True}, "Backups are never incremental"),
        ("PUT", "/backup/config", {"retention": 0}, "VALIDATION_ERROR"),
        ("PUT", "/backup/config", {"frequency": "hourly"}, "VALIDATION_ERROR"),
    ):
        response = await admin.request(method, path, json=body)
        assert (response.status_code, response.json()["error"]) == (400, error), path
    incremental = await admin.post("/backup/start", {"type": "incremental"})
    assert incremental.status_code == 501


async def test_disabled_backups_cannot_be_started(backups: BackupServer) -> None:
    response = await backups.admin.post("/backup/start", {"type": "full"})
    body = response.json()
    assert (response.status_code, body["error"]) == (500, "Failed to start backup")
    assert body["message"] == "Backups are disabled"


async def test_only_administrators_may_use_backups(backups: BackupServer) -> None:
    for method, path in (
        ("POST", "/backup/start"),
        ("GET", "/backup/status/backup_1"),
        ("GET", "/backup/list"),
        ("POST", "/backup/restore"),
        ("GET", "/backup/config"),
        ("PUT", "/backup/config"),
        ("POST", "/backup/test"),
    ):
        response = await backups.ann.request(method, path)
        assert (response.status_code, response.json()["error"]) == (403, NO_ADMIN), path


async def test_configuration_is_stored_for_all_instances(backups: BackupServer) -> None:
    config = (await backups.admin.get("/backup/config")).json()
    assert (config["enabled"], config["frequency"], config["retention"]) == (False, "daily", 30)
    assert config["incremental"] is False
    changed = {"enabled": True, "frequency": "weekly", "retention": 7}
    response = await backups.admin.put("/backup/config", {**changed, "tables": config["tables"]})
    assert response.json()["config"] == {**config, **changed}
    assert (await backups.admin.get("/backup/config")).json() == {**config, **changed}


async def test_what_backups_need_is_tested(backups: BackupServer) -> None:
    response = await backups.admin.post("/backup/test")
    checks = {check["name"]: check["success"] for check in response.json()["checks"]}
    assert response.status_code == 500  # disabled
    assert checks == {
        "Database Connection": True,
        "Cache Connection": True,
        "Backup Configuration": False,
    }
    await enable(backups)
    response = await backups.admin.post("/backup/test")
    assert (response.status_code, response.json()["success"]) == (200, True)


@asynccontextmanager
async def open_service(url: str, directory: Path) -> AsyncGenerator[tuple[Backups, list[datetime]]]:
    """The service on a database of its own, with daily backups, and the time that it reads."""
    clock = [datetime.now(UTC)]
    config = DatabaseConfig(url=Secret(url), pool_min=1, pool_max=3)
    async with Database.open(config) as database:
        yield (
            Backups(
                BackupStore(database),
                directory,
                Secret(as_owner(url)),
                DumpTools(str(find_binaries())),
                BackupPlan(True, "daily", 30),
                trio.lowlevel.checkpoint,
                Metrics(),
                lambda: clock[0],
            ),
            clock,
        )


async def test_backup_is_made_when_it_is_due_and_deleted_after_its_retention(
    fresh_database_url: str, tmp_path: Path
) -> None:
    async with open_service(fresh_database_url, tmp_path) as (service, clock):
        await service.run_due()
        await service.run_due()  # not due again
        [first] = await service.store.newest(10)
        assert first.status == "completed"
        figures = service.metrics.render().decode()
        assert "backup_period_seconds 86400.0" in figures
        last = float(re.findall(r"^backup_last_completed_timestamp (\S+)", figures, re.M)[0])
        assert abs(last - first.start_time.timestamp()) < 1
        clock[0] += timedelta(days=1, minutes=1)
        await service.run_due()
        assert len(await service.store.newest(10)) == 2
        clock[0] += timedelta(days=40)
        service.default = BackupPlan(False, "daily", 30)
        await service.run_due()
        [kept] = await service.store.newest(10)  # the newest one stays
        file = tmp_path / f"{kept.id}.dump"
        assert kept.id != first.id
        assert files_in(tmp_path) == {file.name, manifest_path(file).name}


async def test_failed_backup_says_so(fresh_database_url: str, tmp_path: Path) -> None:
    async with open_service(fresh_database_url, tmp_path / "absent") as (service, _):
        await service.run_due()
        [backup] = await service.store.newest(10)
    assert (backup.status, backup.size, backup.tables) == ("failed", None, [])
    assert backup.error == "The dump failed; the server's log has the reason"


async def test_interrupted_and_lost_backups_are_failed(
    fresh_database_url: str, tmp_path: Path
) -> None:
    async with open_service(fresh_database_url, tmp_path) as (service, clock):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(service.run_due)
            while not files_in(tmp_path):
                await trio.sleep(0.001)
            nursery.cancel_scope.cancel()  # pg_dump takes longer than this
        [stopped] = await service.store.newest(10)
        assert (stopped.status, stopped.error) == ("failed", "The server was stopped")
        assert files_in(tmp_path) == set()

        lost = await service.store.begin(clock[0] + timedelta(seconds=1), after=clock[0])
        assert lost is not None
        await service.store.fail_lost(timedelta(minutes=5))
        assert (await service.find(lost)).status == "running"
        await service.store.fail_lost(timedelta(0))
        assert (await service.find(lost)).status == "failed"


async def test_one_backup_runs_at_a_time(fresh_database_url: str, tmp_path: Path) -> None:
    async with open_service(fresh_database_url, tmp_path) as (service, clock):
        await service.start()
        clock[0] += timedelta(seconds=1)
        with pytest.raises(Conflict):
            await service.start()
