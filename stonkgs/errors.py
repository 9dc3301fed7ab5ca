"""What the user sees when something is wrong: one line that names the thing, the place and the remedy."""


class UserError(Exception):
    """A mistake in the input, the settings or a file. The command line prints its message alone and exits with 1."""
