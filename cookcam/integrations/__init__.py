"""Clients of outside services, each with its own errors, deadlines and retries."""
