"""Owns composing YAML files by Hydra's defaults lists, without the config that Hydra keeps of itself.

Input: folders of YAML, a primary config's name, choices of groups. Output: the merged tree, what was chosen, the files behind it.

Hydra's own `compose` merges a dozen files about its launchers, loggers and output folders into every config, and copies every
schema beforehand: two fifths of the work, for what no recipe reads. What a defaults list means is left to Hydra.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from hydra import version
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra._internal.config_repository import CachingConfigRepository, IConfigRepository
from hydra._internal.config_search_path_impl import ConfigSearchPathImpl
from hydra._internal.core_plugins.file_config_source import FileConfigSource
from hydra._internal.core_plugins.structured_config_source import StructuredConfigSource
from hydra._internal.defaults_list import create_defaults_list
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.config_store import ConfigStore
from hydra.core.default_element import ResultDefault
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.utils import setup_globals
from hydra.plugins.config_source import ConfigResult
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf._utils import get_yaml_loader

from qasr_train.config.spelling import QUOTE_HINT, MergedFile, restore_spellings
from qasr_train.errors import ConfigError


class RecordingLoader(ConfigLoaderImpl):
    """Hydra's loader, which keeps what the last composition was made of; refuses keys that are no text.

    merged: the YAML files in the order they were merged.
    choices: config group (or group@package) -> the file chosen from it; None where it is off, "???" where it is missing.
    asked: the names that were looked up, such as "trainer/long", found or not.
    """

    def __init__(self, search_dirs: Sequence[Path]) -> None:
        """Look YAML files up in `search_dirs`, the first that has one wins; schemas in Hydra's ConfigStore."""
        self.search_dirs = tuple(search_dirs)
        version.setbase("1.3")
        setup_globals()
        for source in (FileConfigSource, StructuredConfigSource):
            SourcesRegistry.instance().register(source)
        search_path = ConfigSearchPathImpl()
        for folder in search_dirs:
            search_path.append("main", f"file://{folder.resolve()}")
        search_path.append("schema", "structured://")
        super().__init__(search_path)
        self.merged: list[MergedFile] = []
        self.choices: dict[str, str | None] = {}
        self.asked: list[str] = []

    def compose(
        self, config_name: str, overrides: Sequence[str], *, is_complete: bool
    ) -> tuple[DictConfig, dict[str, str | None]]:
        """The tree of a primary config with these choices of groups, its texts spelled as in their files; and all choices.

        The jobs of a sweep choose the same groups again and again: what was composed before is copied, a tenth of the work,
        while no file or schema that it was made of has changed.

        Args:
            is_complete: refuse a group from which nothing is chosen yet.
        """
        key = (self.search_dirs, config_name, tuple(overrides))
        kept = _KEPT.pop(key, None)
        if kept is not None and (kept.stamps != self._stamps(kept.asked) or (is_complete and kept.lacks_choice)):
            kept = None
        if kept is None:
            tree = self.load_configuration(
                config_name, list(overrides), RunMode.RUN if is_complete else RunMode.MULTIRUN
            )
            restore_spellings(tree, self.merged)
            kept = _Kept(self.asked, self._stamps(self.asked), tree, self.choices)
        _KEPT[key] = kept  # last in order, as the latest
        if len(_KEPT) > MAX_KEPT:
            del _KEPT[next(iter(_KEPT))]
        return copy.deepcopy(kept.tree), dict(kept.choices)

    def _stamps(self, names: list[str]) -> list[Any]:
        """What changes where a file that a name could mean is written, made or removed, or its schema is another class."""
        schemas: dict[str, Any] = ConfigStore.instance().repo
        stamps: list[Any] = []
        for name in names:
            group, _, file = f"{name.removesuffix('.yaml')}.yaml".rpartition("/")
            node = (schemas.get(group) or {} if group else schemas).get(file)
            stamps.append(node and OmegaConf.get_type(node.node))
            stamps += [_file_stamp(folder / group / file) for folder in self.search_dirs]
        return stamps

    def _load_configuration_impl(
        self,
        config_name: str | None,
        overrides: list[str],
        run_mode: RunMode,
        from_shell: bool = True,
        validate_sweep_overrides: bool = True,
    ) -> DictConfig:
        """As Hydra's own, without its config. MULTIRUN alone lets a group without a choice pass."""
        self.merged = []
        parsed, repo = self._parse_overrides_and_create_caching_repo(config_name, overrides)
        if validate_sweep_overrides:
            self.validate_sweep_overrides_legal(parsed, run_mode=run_mode, from_shell=from_shell)
        defaults = create_defaults_list(
            repo=repo,
            config_name=config_name,
            overrides_list=parsed,
            prepend_hydra=False,
            skip_missing=run_mode == RunMode.MULTIRUN,
        )
        tree = self._compose_config_from_defaults_list(defaults=defaults.defaults, repo=repo)
        OmegaConf.set_struct(tree, True)
        self._apply_overrides_to_config(defaults.config_overrides, tree)
        self.choices = dict(defaults.overrides.known_choices)
        self.asked = [key.removeprefix("config_path=") for key in repo.cache]
        return tree

    def _parse_overrides_and_create_caching_repo(
        self, config_name: str | None, overrides: list[str]
    ) -> tuple[list[Override], CachingConfigRepository]:
        return OverridesParser.create().parse_overrides(overrides), _Repository(self.repository)

    def _load_single_config(self, default: ResultDefault, repo: IConfigRepository) -> ConfigResult:
        result = super()._load_single_config(default, repo)
        folder = str(result.path).removeprefix("file://")
        if str(result.path).startswith("file://") and isinstance(result.config, DictConfig):
            path = Path(folder, f"{str(default.config_path).removesuffix('.yaml')}.yaml")
            package = result.header["package"] if default.package is None else default.package
            _refuse_odd_keys(result.config, path)
            self.merged.append(MergedFile(path, str(package or "").replace("_global_", ""), result.config))
        return result


@dataclass(frozen=True)
class _Kept:
    """A composition, the names it looked up, and how what they mean stood then."""

    asked: list[str]
    stamps: list[Any]
    tree: DictConfig
    choices: dict[str, str | None]

    @property
    def lacks_choice(self) -> bool:
        """Whether a group that must be chosen was passed over, which is what `is_complete` refuses."""
        return "???" in self.choices.values()


MAX_KEPT = 64
_KEPT: dict[tuple[Any, ...], _Kept] = {}


def _file_stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


class _Repository(CachingConfigRepository):
    """Hydra's, which keeps what it loaded for one composition; without a copy of all schemas, as its folders stay the same."""

    def __init__(self, delegate: IConfigRepository) -> None:
        self.delegate = delegate
        self.cache: dict[str, ConfigResult | None] = {}


def _refuse_odd_keys(config: DictConfig, path: Path) -> None:
    """A key such as `no:` or `0012:` is read as a boolean or a number: no schema has such a key, and its spelling is lost."""
    odd = next(_odd_keys(OmegaConf.to_container(config, resolve=False)), None)
    if odd is None:
        return
    with path.open(encoding="utf-8") as stream:
        lines = dict(_odd_lines(yaml.compose(stream, Loader=get_yaml_loader())))
    line, spelling = next(iter(lines.items()), (1, str(odd)))
    raise ConfigError(f"{path}:{line}: the key {spelling} reads as {_named(odd)}, where a name is meant; {QUOTE_HINT}")


def _odd_keys(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        yield from (key for key in value if not isinstance(key, str))
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _odd_keys(item)


def _odd_lines(node: Any) -> Iterator[tuple[int, str]]:
    if isinstance(node, yaml.MappingNode):
        for name, item in node.value:
            if isinstance(name, yaml.ScalarNode) and name.tag.rpartition(":")[2] in ("bool", "int", "float", "null"):
                yield name.start_mark.line + 1, name.value
            yield from _odd_lines(item)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _odd_lines(item)


def _named(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"the number {value}"
