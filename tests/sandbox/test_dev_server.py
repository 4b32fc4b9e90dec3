"""`cookcam dev` with everything: a newcomer's first minutes, and Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import httpx
import pytest

from tests.support.commands import start

pytestmark = pytest.mark.xdist_group("sandbox-process")


def test_first_use_and_shutdown(home: Path, tmp_path: Path):
    dev = start(
        "dev",
        "--port",
        "0",
        "--home",
        str(home),
        cwd=tmp_path,
        env={"DRAIN_LINGER_SECONDS": "0"},
        start_new_session=True,
    )
    try:
        api = wait_for_health(home)
        ann = json.loads((home / "sandbox.json").read_text())["demo_users"][0]
        credentials = {"email": ann["email"], "password": ann["password"]}
        login = api.post("/api/v1/auth/login", json=credentials)
        assert login.status_code == 200
        api.headers["Authorization"] = f"Bearer {login.json()['token']}"
        recipe = {
            "title": "Toast",
            "description": "Bread, twice baked.",
            "ingredients": [{"name": "Bread", "amount": "2", "unit": "slice"}],
            "instructions": ["Toast the bread."],
        }
        created = api.post("/api/v1/recipes", json=recipe)
        assert created.status_code == 201
        again = api.post("/api/v1/recipes", json=recipe)
        assert (again.status_code, again.json()["error"]) == (409, "DUPLICATE_ENTRY")
        listed = api.get("/api/v1/recipes?limit=100").json()["data"]["recipes"]
        assert "Potato and onion tortilla" in {row["title"] for row in listed}
        assert api.get("/api-docs").status_code == 200
        assert api.delete(f"/api/v1/recipes/{created.json()['id']}").is_success
        api.close()
        os.killpg(dev.pid, signal.SIGINT)  # what Ctrl-C in a terminal does
        out, err = dev.communicate(timeout=30)
    except BaseException:
        dev.kill()
        print(*dev.communicate())
        raise
    assert dev.returncode == 0, out + err
    assert "Sourdough-1" in out
    assert "Graceful shutdown complete" in out + err
    assert "Traceback" not in out + err
    assert not (home / "sandbox.json").exists()
    assert not (home / "postgres" / "postmaster.pid").exists()


def wait_for_health(home: Path) -> httpx.Client:
    """A client of the API, once that answers."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            base = json.loads((home / "sandbox.json").read_text())["base_url"]
            api = httpx.Client(base_url=base, verify=False)
            if api.get("/health").status_code == 200:
                return api
        except (OSError, ValueError, KeyError, httpx.HTTPError):
            pass
        time.sleep(0.05)
    raise AssertionError("the API did not answer within 60 s")
