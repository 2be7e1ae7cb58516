"""Owns that text stays text: what was typed or written for a text setting is taken as it stands (0012, 1e3, no).

Input: an override of the command line, or the YAML files of a composed tree in the order they were merged. Output: overrides
whose numbers and booleans remember how they were typed; the tree's text settings as their file spells them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from antlr4 import CommonTokenStream, InputStream
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.overrides_visitor import HydraErrorListener, HydraOverrideVisitor
from hydra.core.override_parser.types import Override
from hydra.grammar.gen.OverrideLexer import OverrideLexer
from hydra.grammar.gen.OverrideParser import OverrideParser
from omegaconf import DictConfig, ListConfig, StringNode
from omegaconf._utils import get_yaml_loader

from qasr_train.config.keys import field_at, inner_type
from qasr_train.errors import ConfigError

QUOTE_HINT = "put it in quotes"
_PASS_ON = ("choice", "tag", "shuffle")  # functions of the grammar that hand on what they are given; the others reckon


class Spelled(str):
    """A number, or true or false, as it was typed; `value` is what it stands for where no text is meant."""

    value: int | float | bool

    def __new__(cls, spelling: str, value: int | float | bool) -> "Spelled":
        made = super().__new__(cls, spelling)
        made.value = value
        return made


class SpelledParser(OverridesParser):
    """Hydra's parser of overrides, whose numbers and booleans are `Spelled`."""

    def parse_rule(self, s: str, rule_name: str) -> Any:
        """As Hydra's own, with another visitor, which it makes in the middle of it; only whole overrides are parsed here."""
        assert rule_name == "override"
        listener = HydraErrorListener()
        lexer = OverrideLexer(InputStream(s))
        parser = OverrideParser(CommonTokenStream(lexer))
        for recognizer in (lexer, parser):
            recognizer.removeErrorListeners()
            recognizer.addErrorListener(listener)
        parsed: Override = _SpelledVisitor(self.functions).visit(parser.override())
        parsed.input_line = s
        parsed.validate()
        return parsed


class _SpelledVisitor(HydraOverrideVisitor):
    is_spelled = True

    def visitPrimitive(self, ctx: OverrideParser.PrimitiveContext) -> Any:  # noqa: N802 - antlr's name
        value = self._createPrimitive(ctx)
        if self.is_spelled and isinstance(value, bool | int | float):
            return Spelled(ctx.getText().strip(), value)
        return value

    def visitDictKey(self, ctx: OverrideParser.DictKeyContext) -> Any:  # noqa: N802 - antlr's name
        key = self._createPrimitive(ctx)
        return ctx.getText().strip() if isinstance(key, bool | int | float) else key

    def visitFunction(self, ctx: OverrideParser.FunctionContext) -> Any:  # noqa: N802 - antlr's name
        outside = self.is_spelled
        self.is_spelled = outside and ctx.getChild(0).getText() in _PASS_ON
        try:
            return super().visitFunction(ctx)
        finally:
            self.is_spelled = outside


def as_meant(value: Any, key: str, tree: DictConfig) -> Any:
    """An override's value with nothing `Spelled` left in it: the spelling where the schema says text, else what it stands for."""
    if isinstance(value, Spelled):
        found = field_at(tree, key)
        return str(value) if found is not None and inner_type(found[1]) is str else value.value
    if isinstance(value, list):
        return [as_meant(item, f"{key}.{index}", tree) for index, item in enumerate(value)]
    if isinstance(value, dict):
        return {name: as_meant(item, f"{key}.{str(name).replace('.', '_')}", tree) for name, item in value.items()}
    return value


@dataclass(frozen=True)
class MergedFile:
    """One YAML file of a composition.

    path: where it lies.
    package: the dotted key it was merged under; "" for the top.
    config: what OmegaConf read in it, below its package.
    """

    path: Path
    package: str
    config: DictConfig


def restore_spellings(tree: DictConfig, merged: list[MergedFile]) -> None:
    """Give every text setting the spelling of the file that set it last, where reading it as YAML has lost that.

    Raises:
        ConfigError: the spelling cannot be found again (the value comes by an alias); names file and key.
    """
    lost: dict[tuple[str, ...], tuple[MergedFile, Any]] = {}
    for file in merged:
        for keys, value in _plain_leaves(file.config):
            if isinstance(value, bool | int | float):
                lost[keys] = file, value
            else:
                lost.pop(keys, None)
    spellings: dict[Path, dict[tuple[str, ...], tuple[str, int]]] = {}
    for keys, (file, value) in lost.items():
        parent, node = _node_at(tree, keys)
        if not isinstance(node, StringNode) or node._value() != str(value):
            continue  # no text, or something set it since
        if file.path not in spellings:
            spellings[file.path] = _spellings_of(file)
        found = spellings[file.path].get(keys)
        if found is None:
            raise ConfigError(f"{file.path}: {'.'.join(keys)} is text, and reads as {value}; {QUOTE_HINT}")
        parent._set_item_impl(int(keys[-1]) if isinstance(parent, ListConfig) else keys[-1], found[0])


def _plain_leaves(node: DictConfig | ListConfig, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """(keys, value) of every plain value below a node that is no reference."""
    if node._is_none() or node._is_missing() or node._is_interpolation():
        return
    names = range(len(node)) if isinstance(node, ListConfig) else list(node)
    for name in names:
        child: Any = node._get_node(name)
        if isinstance(child, DictConfig | ListConfig):
            yield from _plain_leaves(child, (*keys, str(name)))
        elif child is not None:
            yield (*keys, str(name)), child._value()


def _node_at(tree: DictConfig, keys: tuple[str, ...]) -> tuple[Any, Any]:
    """The container of a leaf and the leaf; None for what is not there."""
    parent: Any = None
    node: Any = tree
    for name in keys:
        parent = node
        if isinstance(parent, ListConfig) and not parent._is_none() and name.isdigit() and int(name) < len(parent):
            node = parent._get_node(int(name))
        elif isinstance(parent, DictConfig) and not parent._is_none() and not parent._is_interpolation():
            node = parent._get_node(name)
        else:
            return parent, None
    return parent, node


def _spellings_of(file: MergedFile) -> dict[tuple[str, ...], tuple[str, int]]:
    """keys -> how the file spells the value, and the line from 1."""
    with file.path.open(encoding="utf-8") as stream:
        root = yaml.compose(stream, Loader=get_yaml_loader())
    package = tuple(part for part in file.package.split(".") if part)
    return {(*package, *keys): found for keys, found in _scalars(root, ())}


def _scalars(node: Any, keys: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], tuple[str, int]]]:
    if isinstance(node, yaml.ScalarNode):
        yield keys, (node.value, node.start_mark.line + 1)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            yield from _scalars(item, (*keys, str(index)))
    elif isinstance(node, yaml.MappingNode):
        for name, item in node.value:
            yield from _scalars(item, (*keys, str(name.value)))
