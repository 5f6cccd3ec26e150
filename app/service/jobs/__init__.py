"""Recordings that are recognised in their own time: kept on disk until they are, whatever happens to the server."""
