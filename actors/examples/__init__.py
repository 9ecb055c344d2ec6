"""Examples that run: each a module to read, and to start from."""
