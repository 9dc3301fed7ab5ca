"""Arrow tables as files, and what their types can and cannot hold."""
