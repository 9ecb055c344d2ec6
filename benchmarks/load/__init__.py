"""The load client: one process with many connections, which speaks each peer's protocol and checks each event."""
