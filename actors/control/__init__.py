"""Look at a runtime from outside: what it does, why an event has not arrived, and the way out of a quarantine."""
