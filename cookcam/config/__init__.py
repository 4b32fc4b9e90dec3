"""Configuration: the environment, read once, into frozen attrs classes.

`loading` reads the environment, `sections` declares the settings, `readers` parses their text,
`secret` has the type of values that must not be shown.
"""

from cookcam.config.loading import (
    Config,
    ConfigError,
    Described,
    Mistake,
    described,
    load,
    load_database,
    read_environment,
    without_effect,
)
from cookcam.config.sections import DatabaseConfig

__all__ = [
    "Config",
    "ConfigError",
    "DatabaseConfig",
    "Described",
    "Mistake",
    "described",
    "load",
    "load_database",
    "read_environment",
    "without_effect",
]
