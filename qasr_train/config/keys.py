"""Owns what is known about a key of a typed config: its field, what values it takes, which key was probably meant.

Input: an OmegaConf tree typed by dataclasses, and a dotted key. Output: fields, annotations and the words for a sentence.
"""

import dataclasses
import difflib
import types
from collections.abc import Iterator, Sequence
from enum import Enum
from functools import cache
from typing import Any, Union, get_args, get_origin, get_type_hints

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, ListConfig, OmegaConf

from qasr_train.config.settings import choices_of, range_of

_WORDS = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
MAX_LISTED_KEYS = 40
ENTRY_NAME = "NAME"  # stands for the name of an entry in a dict of config dataclasses


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One setting in a tree: its dotted key, its field, the annotation of the value, and the value as composed (not resolved)."""

    key: str
    field: "dataclasses.Field[Any] | None"
    annotation: Any
    value: Any


def split_key(key: str) -> list[str]:
    """The parts of a dotted key; `a.b[0]` and `a.b.0` are the same."""
    return [part for part in key.replace("[", ".").replace("]", "").split(".") if part]


def is_optional(annotation: Any) -> bool:
    """Whether None (off) is a value of this type."""
    return annotation is Any or type(None) in get_args(annotation)


def inner_type(annotation: Any) -> Any:
    """`X` for `X | None`; any other annotation as it is."""
    if get_origin(annotation) in (Union, types.UnionType):
        return next(arg for arg in get_args(annotation) if arg is not type(None))
    return annotation


def element_class(annotation: Any) -> type | None:
    """The config dataclass of the entries of a dict or list annotation, or None where entries are plain values."""
    args = get_args(inner_type(annotation))
    element = inner_type(args[-1]) if args else None
    return element if isinstance(element, type) and dataclasses.is_dataclass(element) else None


def field_at(tree: DictConfig, key: str) -> tuple["dataclasses.Field[Any]", Any] | None:
    """The field a key belongs to and the annotation of its value; None if no schema knows the key.

    An entry of a plain dict or list (`source.columns.text`) belongs to the field of the dict, with the entry's annotation.
    """
    field, annotation, node = None, OmegaConf.get_type(tree), tree
    for part in split_key(key):
        cls = _dataclass_of(node, annotation)
        if cls is not None:
            field = next((f for f in dataclasses.fields(cls) if f.name == part), None)
            if field is None:
                return None
            annotation = _hints_of(cls)[part]
        elif get_origin(inner_type(annotation)) in (dict, list):
            annotation = get_args(inner_type(annotation))[-1]
        else:
            return None
        node = _child(node, part)
    return (field, annotation) if field is not None else None


def leaves(tree: DictConfig) -> Iterator[Leaf]:
    """Every setting of the tree in its order: plain values, plain lists and dicts, and sections that are off."""
    yield from _leaves(tree, OmegaConf.get_type(tree), None, "", entry_name=None)


def documented_leaves(tree: DictConfig) -> Iterator[Leaf]:
    """As `leaves`, but of a dict of config dataclasses one entry called NAME stands for all there are or could be."""
    yield from _leaves(tree, OmegaConf.get_type(tree), None, "", entry_name=ENTRY_NAME)


def all_keys(tree: DictConfig) -> list[str]:
    """Every key a user may set: settings, the sections they stand in, and NAME for new entries of dicts of configs."""
    keys: dict[str, None] = {}
    for leaf in [*leaves(tree), *documented_leaves(tree)]:
        parts = split_key(leaf.key)
        keys |= dict.fromkeys(".".join(parts[:length]) for length in range(1, len(parts) + 1))
    return list(keys)


def expected_text(annotation: Any, field: "dataclasses.Field[Any] | None") -> str:
    """What a value must be, for "expected ...": type or choices, range, null if allowed, then the field's meaning."""
    text = _type_text(inner_type(annotation), annotation)
    if field is not None and range_of(field):
        text += f" {range_of(field)}"
    if is_optional(annotation):
        text += ", or null"
    meaning = field.metadata.get("help", "") if field is not None else ""
    return f"{text} ({meaning})" if meaning else text


def unknown_key_sentence(key: str, known: Sequence[str]) -> str:
    """ "unknown key trainer.max_step; did you mean trainer.max_steps?", or the keys of the section if nothing is near."""
    section, _, leaf = key.rpartition(".")
    known = list(dict.fromkeys(_with_name_of(name, key) for name in known))
    siblings = [name for name in known if name.startswith(f"{section}.")] if section else []
    same_leaf = [name for name in known if split_key(name)[-1] == leaf]
    near = difflib.get_close_matches(key, same_leaf, n=1, cutoff=0.8) or same_leaf
    near = near or _near_leaf(leaf, siblings or known)
    if not near and not siblings:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.75)
    if near:
        return f"unknown key {key}; did you mean {' or '.join(near[:3])}?"
    return f"unknown key {key}; {_siblings_text(key, known)}"


def dataclass_named(name: str) -> type | None:
    """The registered config dataclass (or one nested in it) with this class name; for errors that name only the class."""
    for cls in _stored_classes(ConfigStore.instance().repo):
        for found in _with_nested(cls):
            if found.__name__ == name:
                return found
    return None


def did_you_mean(value: str, choices: Sequence[str]) -> str:
    """ " (did you mean lora?)" or ""."""
    near = difflib.get_close_matches(value, choices, n=1, cutoff=0.5)
    return f" (did you mean {near[0]}?)" if near else ""


def _dataclass_of(node: Any, annotation: Any) -> type | None:
    """The class a section really has (a subclass where the family varies), or the declared one where there is no node."""
    actual = OmegaConf.get_type(node) if isinstance(node, DictConfig) else None
    for candidate in (actual, inner_type(annotation)):
        if isinstance(candidate, type) and dataclasses.is_dataclass(candidate):
            return candidate
    return None


@cache
def _hints_of(cls: type) -> dict[str, Any]:
    """The types of a class's fields; asked for every section of every config, and worked out anew each time by Python."""
    return get_type_hints(cls)


def _child(node: Any, part: str) -> Any:
    if isinstance(node, ListConfig):
        return node._get_node(int(part)) if part.isdigit() and int(part) < len(node) else None
    return node._get_node(part) if isinstance(node, DictConfig) and not node._is_none() else None


def _leaves(node: Any, annotation: Any, field: Any, key: str, *, entry_name: str | None) -> Iterator[Leaf]:
    is_section = isinstance(node, DictConfig) and not (
        node._is_none() or node._is_missing() or node._is_interpolation()
    )
    cls, entry_class = _dataclass_of(node, annotation), element_class(annotation)
    children: list[tuple[str, Any, Any, Any]] | None = None  # name, node, annotation, field
    if is_section and cls is not None:
        fields = {f.name: f for f in dataclasses.fields(cls)}
        hints = _hints_of(cls)
        children = [(str(n), node._get_node(n), hints.get(str(n), Any), fields.get(str(n))) for n in node]
    elif is_section and entry_class is not None and entry_name is not None:
        children = [(entry_name, OmegaConf.structured(entry_class), entry_class, field)]
    elif is_section and entry_class is not None:
        children = [(str(n), node._get_node(n), entry_class, field) for n in node]
    if children is None:
        yield Leaf(key, field, annotation, _plain(node))
        return
    for name, child, child_annotation, child_field in children:
        child_key = f"{key}.{name}" if key else name
        yield from _leaves(child, child_annotation, child_field, child_key, entry_name=entry_name)


def _plain(node: Any) -> Any:
    if isinstance(node, DictConfig | ListConfig):
        return OmegaConf.to_container(node, resolve=False)
    return node._value()


def _type_text(cls: Any, annotation: Any) -> str:
    choices = choices_of(annotation)
    if choices:
        return f"one of {', '.join(choices)}"
    if get_origin(cls) is list:
        return f"a list such as [a,b], each {_type_text(inner_type(get_args(cls)[0]), get_args(cls)[0])}"
    if get_origin(cls) is dict:
        return "a mapping such as {a: b}"
    if isinstance(cls, type) and dataclasses.is_dataclass(cls):
        return f"a section with the keys {', '.join(f.name for f in dataclasses.fields(cls))}"
    return _WORDS.get(cls, "another type")


def _with_name_of(known: str, key: str) -> str:
    """`data.train.NAME.path` with the entry's name that the user wrote at that place."""
    parts, given = split_key(known), split_key(key)
    last = min(len(parts), len(given)) - 1
    return ".".join(given[i] if part == ENTRY_NAME and i < last else part for i, part in enumerate(parts))


def _near_leaf(leaf: str, keys: Sequence[str]) -> list[str]:
    by_leaf = {split_key(name)[-1]: name for name in keys}
    return [by_leaf[name] for name in difflib.get_close_matches(leaf, list(by_leaf), n=1, cutoff=0.7)]


def _siblings_text(key: str, known: Sequence[str]) -> str:
    parts = split_key(key)
    sections = [".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1)]
    section = next((name for name in sections if any(k.startswith(f"{name}.") for k in known)), "")
    depth = len(split_key(section)) + 1
    siblings = [k for k in known if len(split_key(k)) == depth and k.startswith(f"{section}." if section else "")]
    shown = ", ".join(split_key(k)[-1] for k in siblings[:MAX_LISTED_KEYS])
    return f"the keys of {section or 'this recipe'} are {shown}"


def _stored_classes(repo: dict[str, Any]) -> Iterator[type]:
    for value in repo.values():
        if isinstance(value, dict):
            yield from _stored_classes(value)
        else:
            cls = OmegaConf.get_type(value.node)
            if isinstance(cls, type) and dataclasses.is_dataclass(cls):
                yield cls


def _with_nested(cls: type) -> Iterator[type]:
    yield cls
    for annotation in _hints_of(cls).values():
        for candidate in (inner_type(annotation), element_class(annotation)):
            if isinstance(candidate, type) and dataclasses.is_dataclass(candidate) and not issubclass(candidate, Enum):
                yield from _with_nested(candidate)
