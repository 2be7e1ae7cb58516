"""Owns what a recipe sets for the libraries under it before its job starts: nothing is reported to anyone, little is printed.

Input: none. Output: environment variables (loader workers inherit them) and log levels. What the user has set stays as it is;
HF_HUB_OFFLINE is the hub library's own and is left alone. QASR_DEBUG=1 lets the libraries talk.
"""

import logging
import os
import sys

DEBUG_VARIABLE = "QASR_DEBUG"
_ALWAYS = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "WANDB_ERROR_REPORTING": "false",  # else wandb sends its own crashes, with parts of the program, to its makers
    "TOKENIZERS_PARALLELISM": "false",  # else tokenizers warns whenever a loader worker is forked
}
_QUIET = {
    "TRANSFORMERS_VERBOSITY": "error",
    "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1",
    "DATASETS_VERBOSITY": "error",
}


def is_debugging() -> bool:
    """Whether QASR_DEBUG=1 asks for tracebacks and for what the libraries have to say."""
    return os.environ.get(DEBUG_VARIABLE) == "1"


def prepare_environment() -> None:
    """Set the variables and tell them to libraries imported already, which read them at import only; show our own log."""
    _show_own_log()
    for name, value in (_ALWAYS if is_debugging() else _ALWAYS | _QUIET).items():
        os.environ.setdefault(name, value)
    hub_constants = sys.modules.get("huggingface_hub.constants")
    if hub_constants is not None:
        is_disabled = os.environ["HF_HUB_DISABLE_TELEMETRY"] not in ("0", "")
        setattr(hub_constants, "HF_HUB_DISABLE_TELEMETRY", is_disabled)  # noqa: B010
    for library in ("transformers", "datasets"):
        level = os.environ.get(f"{library.upper()}_VERBOSITY", "warning")
        library_logging = sys.modules.get(f"{library}.utils.logging")
        set_verbosity = getattr(library_logging, f"set_verbosity_{level}", None)
        if set_verbosity is not None:
            set_verbosity()


def _show_own_log() -> None:
    """Our messages go to standard error as they are, those of other processes than the first only from warnings on."""
    log = logging.getLogger("qasr_train")
    if log.handlers:
        return
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING)
    log.propagate = False
