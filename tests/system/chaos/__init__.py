"""Misfortunes on purpose, on real sockets and processes: what each lost, how long it lasted, which others it hurt."""
