"""Uploads that survive broken connections and servers: what arrived stays, and the rest is sent when there is time."""
