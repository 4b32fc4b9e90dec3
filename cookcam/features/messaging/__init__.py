"""Messages to users outside a session: the push queue and its schedules."""
