"""The operations console at `/ops`, for administrators (docs/console.md)."""
