"""Slow, dead and returning devices, over real sockets."""
