"""Prometheus' view of the server: what happens, counted as it happens, and how things stand when it asks."""
