"""Repeatable measurements, each a command that prints tables and ratios; see README.md beside this file."""
