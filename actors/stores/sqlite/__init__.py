"""A journal in a SQLite file: one writer, append-only segments, and a start that reads no event."""
