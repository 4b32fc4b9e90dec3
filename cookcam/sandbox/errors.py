"""The error that keeps the sandbox from starting."""


class SandboxError(Exception):
    """The message is one line for the user: what is wrong and what to do."""
