"""Owns what a model is evaluated on: named sets of utterances, the part each plays, the conditions each is heard under.

Input: `SuiteConfig` (configs/suite/*.yaml). Output: `UtteranceSet`s, checked: none is empty, every row has a reference.
"""

from collections.abc import Sequence
from dataclasses import replace

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.columns.values import check_parts
from qasr_train.evaluation.mixed.counts import require_two_scripts
from qasr_train.evaluation.settings import (
    ContextConditionsConfig,
    Offer,
    Role,
    SetConfig,
    SuiteConfig,
)
from qasr_train.evaluation.suites.context_conditions import under_conditions
from qasr_train.evaluation.suites.noise import conditions
from qasr_train.manifest import Utterance
from qasr_train.sources.columns import read_columns
from qasr_train.sources.intake import Intake
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_table
from qasr_train.text.alternatives.notation import parse_alternatives
from qasr_train.transcription.sets import UtteranceSet


def load_suite(config: SuiteConfig, *, key: str | None = None, columns: Sequence[str] = ()) -> list[UtteranceSet]:
    """Load every chosen set; with offered terms or noise, each once for every condition.

    key: where the settings of the source stand, for messages; None: below suite.sets.
    columns: other columns of the sources to keep; each must stand in one set at least.

    Raises:
        DataError, ConfigError: a source cannot be read (with what to do where it asks for a login), a set is empty, a row
            states no text, an id stands twice, mixed languages cannot be told apart; there is no noise, or no term list, where
            the settings say; no set has a column.
    """
    noisy = conditions(config.noise)
    sets = [
        _load_set(name, set_config, key or f"suite.sets.{name}.source")
        for name, set_config in config.chosen_sets().items()
    ]
    if config.mixed:
        require_two_scripts(utterance.text for one in sets for utterance in one.utterances)
    sets = _with_columns(sets, config, columns)
    if config.context.terms is not None:
        sets = [under for one in sets for under in _with_offers(one, config.context)]
    if not noisy:
        return sets
    return [replace(one, name=how.set_name(one.name), change=how) for one in sets for how in noisy]


def _with_columns(sets: Sequence[UtteranceSet], config: SuiteConfig, columns: Sequence[str]) -> list[UtteranceSet]:
    found, lacking = [], []
    for one in sets:
        values, missing = _columns_of(one, config.sets[one.name], columns) if columns else ({}, [])
        found.append(replace(one, columns=values))
        lacking.append(set(missing))
    for name in columns:
        if all(name in missing for missing in lacking):
            raise ConfigError(
                f"by=[{name}]: no row of {', '.join(one.name for one in sets)} has that column; correct it"
            )
        check_parts(name, [values.get(name) for one in found for values in one.columns.values()])
    return found


def _columns_of(
    one: UtteranceSet, config: SetConfig, columns: Sequence[str]
) -> tuple[dict[str, dict[str, str]], list[str]]:
    """As `read_columns`; of chunks those of the recordings, which are scored as wholes."""
    if config.parents is not None:
        ids = {parent for parent, _ in (one.chunks or {}).values()}
        return read_columns(config.parents, columns, ids, f"{one.name}.parents", key=f"suite.sets.{one.name}.parents")
    ids = {utterance.id for utterance in one.utterances}
    return read_columns(config.source, columns, ids, one.name, key=f"suite.sets.{one.name}.source")


def _load_set(name: str, config: SetConfig, key: str) -> UtteranceSet:
    chunks = None
    try:
        if config.parents is None:
            table = load_table(config.source, name, key=key)
            utterances, intake = list(table), table.intake
        else:
            utterances, chunks, intake = _load_chunks(name, config.source, config.parents)
    except DataError as error:
        if config.access is None:
            raise
        raise DataError(f"{error} (to get set {name!r}: {config.access})") from None
    if not utterances:
        raise DataError(f"set {name!r}: {config.source.path} holds no utterances; check its path, split and filters")
    without_text = [utterance for utterance in utterances if utterance.text is None]
    if without_text:
        first = without_text[0]
        raise DataError(
            f"set {name!r}: {len(without_text)} of {len(utterances)} rows state no text, the first is {first.id!r} "
            f'({first.origin}); an evaluation needs a reference in every row ("" where there is no speech)'
        )
    for utterance in utterances:
        parse_alternatives(utterance.text or "", utterance.origin or utterance.id)
    _check_ids(name, utterances)
    return UtteranceSet(
        name, utterances, None if config.role is Role.none else config.role.value, chunks=chunks, intake=intake
    )


def _load_chunks(
    name: str, source: SourceConfig, parents: SourceConfig
) -> tuple[list[Utterance], dict[str, tuple[str, int]], Intake]:
    """The chunks, each with its parent's text, language, speaker; which part of which parent each is; what became of the rows."""
    key = f"suite.sets.{name}"
    whole = {parent.id: parent for parent in load_table(parents, f"{name}.parents", key=f"{key}.parents")}
    # An Utterance has no fields for these two columns; text and speaker are the parent's, so theirs are free.
    columns = {**source.columns, "text": "parent_id", "speaker": "chunk_index"}
    utterances, chunks = [], {}
    table = load_table(replace(source, columns=columns), name, key=f"{key}.source")
    for row in table:
        parent = whole.get(row.text or "")
        if parent is None or not (row.speaker or "").isdecimal():
            raise DataError(
                f"set {name!r}: {row.origin} has parent_id={row.text!r}, chunk_index={row.speaker!r}; expected an id of "
                f"{parents.path}, and a number from 0"
            )
        utterances.append(
            replace(row, text=parent.text, speaker=parent.speaker, language=row.language or parent.language)
        )
        chunks[row.id] = (parent.id, int(row.speaker or 0))
    return utterances, chunks, table.intake


def _with_offers(one: UtteranceSet, config: ContextConditionsConfig) -> list[UtteranceSet]:
    offered = under_conditions(one.utterances, config)
    if not offered[Offer.nothing]:
        raise DataError(
            f"set {one.name!r}: no term of suite.context.terms={config.terms} is spoken in it; give another list, or "
            "suite.context.only_with_terms=false"
        )
    return [replace(one, name=f"{one.name}, {kind.value}", utterances=rows) for kind, rows in offered.items()]


def _check_ids(name: str, utterances: list[Utterance]) -> None:
    seen: dict[str, str] = {}
    for utterance in utterances:
        if utterance.id in seen:
            raise DataError(
                f"set {name!r}: id {utterance.id!r} stands twice ({seen[utterance.id]} and {utterance.origin}); ids are "
                "unique in a set"
            )
        seen[utterance.id] = utterance.origin
