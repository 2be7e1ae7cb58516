"""Owns the exceptions a user may see. Each message is one sentence: what was wrong, the value, where, what to do.

`recipes/` print the message of a UserError after `error:` and exit with its status; anything else is our own bug.
"""

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 75  # EX_TEMPFAIL of sysexits.h: try again


class UserError(ValueError):
    """A mistake in what the user gave us: never shown with a traceback."""

    exit_status = EXIT_USER_ERROR


class ConfigError(UserError):
    """A setting that is unknown, missing, out of range, or contradicts another."""


class DataError(UserError):
    """A manifest, source or dataset that cannot be used as it is."""


class AudioError(DataError):
    """One recording that cannot be turned into a waveform; the message names the file and the reason."""


class CheckpointError(UserError):
    """A model or checkpoint directory that is incomplete, damaged or of another kind."""


class TrainingError(UserError):
    """A run that had to stop: non-finite loss, too little memory, an interruption. Says what is saved and how to go on."""


class InterruptedRunError(TrainingError):
    """Training was asked to stop (Ctrl-C, SIGTERM) and has saved a checkpoint; the same command with resume=true goes on."""

    exit_status = EXIT_INTERRUPTED
