"""PostgreSQL access on Trio: see docs/database.md."""

from psycopg import Notify
from psycopg.types.json import Jsonb

from cookcam.database.actors import ANONYMOUS, SERVICE, Actor, DatabaseRole
from cookcam.database.database import Database
from cookcam.database.pool_stats import PoolStats
from cookcam.database.transaction import Transaction

__all__ = [
    "ANONYMOUS",
    "SERVICE",
    "Actor",
    "Database",
    "DatabaseRole",
    "Jsonb",
    "Notify",
    "PoolStats",
    "Transaction",
]
