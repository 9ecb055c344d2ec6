"""The servers that are measured, one module each, and the table of them (:mod:`benchmarks.peers.roster`).

A module is a process of the conventions in :mod:`benchmarks.process`: it serves, says ``ready PORT PID``, sends the
events of its schedule from ``go START`` on, and ends at ``stop``. Each is written as its own documentation
recommends for speed, and says where that is.
"""
