"""Push notifications: devices, what is queued for them, and sending it."""
