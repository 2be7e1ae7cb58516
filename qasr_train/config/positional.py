"""Owns the words of a command line that are no settings: for a recipe that takes files, those files, as one setting.

Input: the words as typed, the keys the recipe has. Output: overrides, in which the files stand as a list, each to the letter.
"""

from collections.abc import Collection, Sequence
from pathlib import Path

from qasr_train.config.keys import did_you_mean
from qasr_train.errors import ConfigError


def files_as_setting(words: Sequence[str], key: str, sections: Collection[str]) -> list[str]:
    """The overrides among the words, then one more that lists all other words under `key`; without others, none.

    A word is a setting where it has an equals sign and what stands before it begins with a name of `sections`; so a path may
    hold equals signs and commas, and one that begins like a setting is written with ./ before it.

    Raises:
        ConfigError: files are given both as words and as `key`; a word with an equals sign is neither a file nor a setting.
    """
    settings = [word for word in words if _section(word) in sections]
    files = [word for word in words if _section(word) not in sections]
    if not files:
        return settings
    for file in files:
        if "=" in file and not Path(file).expanduser().exists():
            name = file.partition("=")[0]
            hint = did_you_mean(_section(file) or "", list(sections))
            raise ConfigError(
                f"{file}: no such file or folder, and no setting is called {name}{hint}; --help lists them"
            )
    if any(_section(word) == key for word in settings):
        raise ConfigError(f"{files[0]!r} and {key}=... both name files; give them all in one way")
    return [*settings, f"{key}=[{','.join(quoted(file.replace('${', chr(92) + '${')) for file in files)}]"]


def quoted(text: str) -> str:
    """Text in single quotes of Hydra's grammar; of backslashes only those before a quote, or at the end, need another."""
    parts = text.split("'")
    return "'" + "\\'".join(_doubled_at_end(part) for part in parts) + "'"


def _doubled_at_end(part: str) -> str:
    return part + "\\" * (len(part) - len(part.rstrip("\\")))


def _section(word: str) -> str | None:
    """`model` of `model.path=x`, `+model=x` and `~model`; None of a word that cannot be a setting."""
    name, equals, _ = word.partition("=")
    if not equals and not word.startswith("~"):
        return None
    return name.strip().lstrip("+~").replace("@", ".").replace("[", ".").split(".")[0]
