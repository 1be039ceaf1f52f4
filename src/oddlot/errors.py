"""Every error that Oddlot raises on purpose, split by what to do next."""


class OddlotError(Exception):
    """Anything that Oddlot refuses on purpose; its text is one line for the user."""

    exit_code = 1


class ConfigError(OddlotError):
    """The command, the config or the input's layout is wrong: stop and fix it."""

    exit_code = 2


class StreamError(OddlotError):
    """A stream did not answer: call again later, with backoff."""


class DataError(OddlotError):
    """One record cannot become a line: set it aside and go on."""


class StateError(OddlotError):
    """Stored state is damaged, or newer than this program."""

    exit_code = 4


class StateLocked(StateError):
    """Another process works on the same state folder."""

    exit_code = 3
