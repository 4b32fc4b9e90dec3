"""What stops the sandbox from starting, in words for the person who started it."""


class SandboxError(Exception):
    """One line that says what is wrong and what to do."""
