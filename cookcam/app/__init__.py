"""From a Config to everything that runs: the only part that knows every part.

`program.open_services` is the table of contents. It opens the stages in the order in which they
need each other, one module each; a stage offers what later ones need, its routes and its background
tasks. Production, `cookcam dev` and the tests differ in their Config alone.
"""

from cookcam.app.program import Services, open_program, open_services
from cookcam.app.providers import app_store_settings
from cookcam.app.reconciling import open_reconciling
from cookcam.app.reports import TaskReports

__all__ = [
    "Services",
    "TaskReports",
    "app_store_settings",
    "open_program",
    "open_reconciling",
    "open_services",
]
