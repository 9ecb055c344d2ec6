"""Runnable examples, each one module, to read and to start from."""
