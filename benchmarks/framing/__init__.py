"""Frames of the peers' protocols, as little of each as a load client needs.

They are written by hand because an instrument must cost little: at 60,000 events a second there are 16 µs for each,
the poll and the ``recv`` included, which is too little for a WebSocket, MQTT or NATS library. What they cannot do
(fragments, compression, long client frames) none of the servers asks for.
"""
