from __future__ import annotations

import pytest
from psycopg.conninfo import conninfo_to_dict

from cookcam.database.connecting import connection_string


def parameters(url: str) -> dict[str, object]:
    return conninfo_to_dict(connection_string(url))


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1", "[::1]", "localhost,127.0.0.1", "%2Fvar%2Frun"]
)
def test_tls_to_a_local_server_follows_the_url(host: str) -> None:
    assert "sslmode" not in parameters(f"postgresql://me@{host}/x")
    assert parameters(f"postgresql://me@{host}/x?sslmode=require")["sslmode"] == "require"


@pytest.mark.parametrize("host", ["db.example.test", "10.0.0.1", "localhost,db.example.test"])
def test_tls_to_a_remote_server_is_required(host: str) -> None:
    url = f"postgresql://me@{host}/x"
    assert parameters(url)["sslmode"] == "require"
    assert parameters(f"{url}?sslmode=disable")["sslmode"] == "disable"


def test_root_certificate_in_the_url_enables_full_verification() -> None:
    url = "postgresql://me@db.example.test/x?sslrootcert=/ca.pem"
    assert parameters(url)["sslmode"] == "verify-full"


def test_url_parameters_override_the_defaults() -> None:
    given = parameters("postgresql://me@/x?application_name=mine")
    assert given["application_name"] == "mine"
    assert given["connect_timeout"] == "5"


def test_invalid_url_is_rejected_without_revealing_it() -> None:
    with pytest.raises(ValueError, match="not a PostgreSQL") as raised:
        connection_string("postgresql://me:secret@/x?nonsense=1")
    assert "secret" not in str(raised.value)
    assert raised.value.__cause__ is None
