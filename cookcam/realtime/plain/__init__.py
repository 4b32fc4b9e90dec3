"""Plain WebSockets: JSON events without Socket.IO."""
