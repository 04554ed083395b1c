"""The one error that a user is meant to read."""


class UserError(Exception):
    """Something the user can mend: recipes print it as one line, without a traceback, and exit with status 2.

    The message names the offending value and the way out.
    """
