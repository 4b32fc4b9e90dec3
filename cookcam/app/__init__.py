"""From a Config to the running program: the only package that imports every other.

`container.py` lists every component and what it is built from, `program.py` opens and runs it.
Production, `cookcam dev` and the tests differ only in their Config.
"""

from cookcam.app.clients import app_store_settings
from cookcam.app.program import (
    Services,
    open_container,
    open_program,
    open_reconciliation,
    open_services,
)
from cookcam.app.reports import TaskReports

__all__ = [
    "Services",
    "TaskReports",
    "app_store_settings",
    "open_container",
    "open_program",
    "open_reconciliation",
    "open_services",
]
