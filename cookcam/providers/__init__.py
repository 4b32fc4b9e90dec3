"""Thin clients of outside services, each with its own errors, time bound and retries."""
