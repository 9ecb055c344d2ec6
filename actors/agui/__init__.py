"""AG-UI 1.0: the events of a thread as a frontend of that protocol takes them, whatever it has seen before."""
