"""Owns shell completion of `qasr`: Hydra's own, told which job's config the line is about.

Input: `install=SHELL`, `uninstall=SHELL`, or `query=SHELL` with the line so far in the environment, as Hydra's shell functions
send it. Output: shell code, or the words that may follow, on stdout. Imports no torch: the Tab key must answer at once.
"""

import contextlib
import io
import os
from collections.abc import Sequence

from hydra._internal.core_plugins.bash_completion import BashCompletion
from hydra._internal.core_plugins.fish_completion import FishCompletion
from hydra._internal.core_plugins.zsh_completion import ZshCompletion
from hydra.errors import HydraException
from hydra.plugins.completion_plugin import CompletionPlugin
from omegaconf.errors import OmegaConfBaseException

from qasr_train.config.compose import OVERLAY_GROUP, ConfigFolders, open_folders
from qasr_train.config.load import Tables, register_schemas
from qasr_train.errors import UserError

OPTIONS = ("--shell-completion", "-sc")
_SHELLS: dict[str, type[CompletionPlugin]] = {"bash": BashCompletion, "fish": FishCompletion, "zsh": ZshCompletion}
_LINE = "COMP_LINE"  # what the user has typed; Hydra's functions for all three shells set it


def complete(request: str, tables: Tables, jobs: Sequence[str]) -> None:
    """Print the answer to one request of `--shell-completion`.

    Args:
        request: "install=bash", "uninstall=bash", or, from the shell function, "query=bash".
        jobs: what may stand as the first word.

    Raises:
        UserError: another request, or a shell that Hydra does not know.
    """
    action, _, shell = request.partition("=")
    if shell not in _SHELLS or action not in ("install", "uninstall", "query"):
        shells = ", ".join(_SHELLS)
        raise UserError(f"--shell-completion {request}: give install=SHELL or uninstall=SHELL, a SHELL of {shells}")
    if action == "query":
        words = following(os.environ.get(_LINE, ""), tables, jobs, _SHELLS[shell])
        print(("\n" if shell == "fish" else " ").join(words))
    else:
        plugin = _SHELLS[shell](None)  # type: ignore[arg-type]  # needs no config to write shell code
        plugin.install() if action == "install" else plugin.uninstall()


def following(
    line: str, tables: Tables, jobs: Sequence[str], plugin: type[CompletionPlugin] = BashCompletion
) -> list[str]:
    """The words by which a line such as "qasr finetune trainer.max" may go on: jobs, then groups, their files, keys, values."""
    _, _, typed = line.lstrip().partition(" ")
    job, space, rest = typed.lstrip().partition(" ")
    if not space:
        return [name for name in jobs if name.startswith(job)]
    if job not in tables.recipes:
        return []
    register_schemas(job, tables)
    # An option that Hydra's parser does not know, or a mistake earlier in the line: nothing to offer, and nothing said.
    mistakes = contextlib.suppress(HydraException, OmegaConfBaseException, SystemExit)
    with open_folders(job, tables.search_dirs) as folders, contextlib.redirect_stderr(io.StringIO()), mistakes:
        # --multirun: a group of which nothing is chosen yet must not hide the keys of the others.
        words = plugin(folders.loader)._query(config_name=job, line=f"--multirun {rest}")
        return [word for word in words if _is_offered(word, folders, (*tables.recipes[job].groups, OVERLAY_GROUP))]
    return []


def _is_offered(word: str, folders: ConfigFolders, groups: Sequence[str]) -> bool:
    """A file of a group of this recipe, or a key; not the value a key has now, which Hydra writes otherwise than it reads."""
    key, _, value = word.partition("=")
    name = key.lstrip("+~")
    if folders.options(name):
        return name in groups and not value.endswith("_schema")
    return not value
