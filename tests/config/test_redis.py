"""REDIS_URL, the four older settings it replaces, and which bus follows."""

from __future__ import annotations

import pytest

from cookcam.config import Config, ConfigError, load
from tests.support.environments import DEVELOPMENT

OLDER = {"REDIS_HOST": "cache.internal", "REDIS_PORT": "6380", "REDIS_DB": "2"}


def configured(**changes: str) -> Config:
    return load({**DEVELOPMENT, **changes})


def url_of(config: Config) -> str | None:
    return config.redis.url and config.redis.url.reveal()


def test_without_redis_the_database_is_the_bus() -> None:
    assert (configured().redis.url, configured().bus) == (None, "postgres")
    assert configured(REDIS_PASSWORD="hush", REDIS_PORT="6379").redis.url is None


def test_with_redis_it_is_the_bus_unless_another_is_named() -> None:
    there = {"REDIS_URL": "redis://127.0.0.1:6379/0"}
    assert configured(**there).bus == "redis"
    assert configured(**there, REALTIME_BUS="postgres").bus == "postgres"
    assert configured(REALTIME_BUS="local").bus == "local"


@pytest.mark.parametrize(
    "url",
    ["rediss://:hush@cache.internal", "redis+cluster://a:6379,b:6379", "rediss+cluster://a"],
)
def test_an_address_may_be_of_tls_or_of_a_cluster(url: str) -> None:
    assert url_of(configured(REDIS_URL=url)) == url


def test_the_older_settings_make_an_address() -> None:
    assert url_of(configured(**OLDER)) == "redis://cache.internal:6380/2"
    with_password = configured(**OLDER, REDIS_PASSWORD="p@ss/w:rd")
    assert url_of(with_password) == "redis://:p%40ss%2Fw%3Ard@cache.internal:6380/2"
    assert url_of(configured(**OLDER, REDIS_URL="redis://other")) == "redis://other"


@pytest.mark.parametrize(
    ("changes", "reported"),
    [
        ({"REDIS_URL": "http://cache"}, "REDIS_URL must be a URL that starts with redis://"),
        ({"REALTIME_BUS": "kafka"}, "REALTIME_BUS must be one of local, postgres, redis"),
        ({"REALTIME_BUS": "redis"}, "REALTIME_BUS must not be redis without REDIS_URL"),
    ],
)
def test_what_cannot_be_used_is_reported(changes: dict[str, str], reported: str) -> None:
    with pytest.raises(ConfigError) as rejected:
        configured(**changes)
    assert reported in str(rejected.value)
