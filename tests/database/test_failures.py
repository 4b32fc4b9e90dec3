from __future__ import annotations

import psycopg
import pytest
from psycopg import errors as e

from cookcam import errors
from cookcam.database.failures import translate, translate_errors


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (e.UniqueViolation(), errors.DuplicateEntry),
        (e.ForeignKeyViolation(), errors.ForeignKeyError),
        (e.InvalidTextRepresentation(), errors.InvalidInput),
        (e.NotNullViolation(), errors.RequiredFieldMissing),
        (e.CheckViolation(), errors.ConstraintViolation),
        (e.InsufficientPrivilege(), errors.InsufficientPermissions),
        (e.SerializationFailure(), errors.TransactionConflict),
        (e.DeadlockDetected(), errors.TransactionConflict),
        (e.TooManyConnections(), errors.ServiceOverloaded),
        (e.QueryCanceled(), errors.DeadlineExceeded),
        (e.AdminShutdown(), errors.ServiceUnavailable),
        (e.CannotConnectNow(), errors.ServiceUnavailable),
        (e.ConnectionFailure(), errors.ServiceUnavailable),
        (psycopg.OperationalError("connection refused"), errors.ServiceUnavailable),
        (psycopg.OperationalError("FATAL:  too many connections"), errors.ServiceOverloaded),
        (e.ConnectionTimeout(), errors.ServiceUnavailable),
        (psycopg.DataError("NUL"), errors.InvalidInput),
        (e.UntranslatableCharacter(), errors.InvalidInput),
        (e.CharacterNotInRepertoire(), errors.InvalidInput),
        (e.UndefinedTable(), errors.DatabaseError),
        (e.SyntaxError(), errors.DatabaseError),
        (psycopg.ProgrammingError("placeholder"), errors.DatabaseError),
    ],
)
def test_psycopg_error_is_translated(error: psycopg.Error, expected: type[errors.AppError]) -> None:
    assert type(translate(error)) is expected


def test_original_error_is_the_cause() -> None:
    original = e.UniqueViolation("duplicate key")
    with pytest.raises(errors.DuplicateEntry) as raised, translate_errors():
        raise original
    assert raised.value.__cause__ is original


def test_other_errors_pass_through() -> None:
    with pytest.raises(KeyError), translate_errors():
        raise KeyError
