"""Misfortunes on purpose, on real sockets and real processes: what each lost, how long it lasted, whom it hurt."""
