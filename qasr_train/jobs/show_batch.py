"""Owns `recipes/show_batch.py`: what the model is given and what it is taught, token by token, for a few utterances.

Input: the config of a training run. Output: a picture in the terminal, or JSON lines with ids and labels. Uses the run's own
sources, limits and collator; loads no model weights.
"""

import json
import sys
import unicodedata
from collections.abc import Sequence
from itertools import zip_longest
from pathlib import Path

from qasr_train.augment.augmenter import Augmenter
from qasr_train.augment.clip_changes import Changes, make_changes
from qasr_train.batch import IGNORED, Batch
from qasr_train.corpus.expected_errors import read_expected_errors
from qasr_train.data.length_limits import Limits, measure_durations
from qasr_train.data.mixture import ListPool
from qasr_train.data.source_pools import sampled_by_error
from qasr_train.data.workers import PlannedBatches
from qasr_train.errors import AudioError, ConfigError, UserError
from qasr_train.files import Styled, visible
from qasr_train.jobs.settings.show_batch import ShowBatchConfig
from qasr_train.manifest import Utterance
from qasr_train.models.base import TrainingCollator
from qasr_train.models.families import load_training_collator
from qasr_train.sources.settings import SourceConfig
from qasr_train.sources.source import load_utterances, stream_utterances

_SUPERVISED, _GIVEN = "\033[1;32m", "\033[2m"
_RESET = "\033[0m"
MAX_TOKENS = 8  # looked at for one letter: four bytes, before the first of which a token may hold others


def show_batch(config: ShowBatchConfig) -> None:
    """Print one padded batch, or write it to `config.out`.

    Raises:
        ConfigError: an id is in none of the sources. DataError, AudioError, CheckpointError: as in training.
    """
    changes = make_changes(
        config.augment,
        config.context,
        seed=config.seed,
        max_duration_s=min(config.data.max_duration_s, config.model.max_duration_s),
        max_target_tokens=config.data.max_target_tokens,
    )
    collator = load_training_collator(config.model)
    chosen, sampled = choose_utterances(config, collator)
    utterances = list(changes.plan(chosen, config.epoch, source="shown"))
    batch = make_batch(utterances, collator, changes, config.epoch)
    drawn = [_drawn(changes.augmenter, u, config.epoch, batch, row) for row, u in enumerate(utterances)]
    for pool in sampled:
        print(visible(pool.describe()))
    if config.out is None:
        color = sys.stdout.isatty() if config.color is None else config.color
        for row, utterance in enumerate(utterances):
            sys.stdout.write(Styled(picture(batch, row, utterance, collator, color=color, drawn=drawn[row]) + "\n"))
        return
    path = Path(config.out)
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [describe_row(batch, row, collator) for row in range(len(utterances))]
    if changes.augmenter:
        rows = [{**row, "augmented": said} for row, said in zip(rows, drawn, strict=True)]
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    print(f"{path}: {len(rows)} utterances")


def make_batch(utterances: list[Utterance], collator: TrainingCollator, changes: Changes, epoch: int) -> Batch:
    """The utterances as training would see them in an epoch, as one padded batch."""
    plan = [list(range(len(utterances)))]
    loaded = PlannedBatches(utterances, plan, collator, epoch=epoch, changes=changes)[0]
    if isinstance(loaded, UserError):
        raise loaded
    if loaded.failed:
        raise AudioError(loaded.failed[0].reason)
    return loaded.batch


def _drawn(augment: Augmenter | None, utterance: Utterance, epoch: int, batch: Batch, row: int) -> list[str]:
    """What augmentation did to a row, name and drawn values."""
    if augment is None:
        return []
    num_frames, num_bins = int(batch.input_features_mask[row].sum()), batch.input_features.shape[1]
    return augment.describe(utterance, epoch, num_frames=num_frames, num_bins=num_bins)


def choose_utterances(config: ShowBatchConfig, collator: TrainingCollator) -> tuple[list[Utterance], list[ListPool]]:
    """(the utterances to show: those named, or the first of each source in turn; the sources drawn by expected error).

    Of these the first are those the epoch draws first.
    """
    limits = Limits(config.data, collator, model_max_duration_s=config.model.max_duration_s)
    errors = read_expected_errors(config.data.sample_by_error)
    by_source: list[Sequence[Utterance]] = []
    sampled: list[ListPool] = []
    for number, (name, source) in enumerate(config.data.train.items()):
        rows = limits(measure_durations(_read(source, name, config)), name)
        if errors is not None and config.data.sample_by_error.is_for(name):
            pool = ListPool(name, rows, source.passes_per_epoch, (config.seed, number))
            sampled.append(sampled_by_error(pool, config.data.sample_by_error, errors))
            rows = list({one.id: one for one in sampled[-1].draw(config.epoch)}.values())
        by_source.append(rows)
    return _shown_of(by_source, config), sampled


def _shown_of(by_source: Sequence[Sequence[Utterance]], config: ShowBatchConfig) -> list[Utterance]:
    if config.ids:
        known = {u.id: u for utterances in by_source for u in utterances}
        if missing := [one for one in config.ids if one not in known]:
            raise ConfigError(
                f"ids={missing}: no such utterance in data.train ({len(known)} are there{_of_epoch(config)})"
            )
        return [known[one] for one in config.ids]
    in_turn = [u for together in zip_longest(*by_source) for u in together if u is not None]
    return in_turn[: config.num_utterances]


def _of_epoch(config: ShowBatchConfig) -> str:
    is_drawn = config.data.sample_by_error.predictions is not None  # by what a run hears no batch can be shown before
    return f", as data.sample_by_error draws for epoch {config.epoch}" if is_drawn else ""


def _read(source: SourceConfig, name: str, config: ShowBatchConfig) -> list[Utterance]:
    """All utterances of a source; of a streamed one the first, which are a window where some are asked for by id."""
    key = f"data.train.{name}"
    if not source.streaming:
        return load_utterances(source, name, is_trained_on=True, key=key)
    return stream_utterances(source, name, key=key).take(
        config.data.stream_window if config.ids else config.num_utterances
    )


def describe_row(batch: Batch, row: int, collator: TrainingCollator) -> dict[str, object]:
    """A row of a padded batch as plain values; labels are IGNORED (-100) where nothing is supervised."""
    assert batch.labels is not None
    input_ids = batch.input_ids[row].tolist()
    return {
        "id": batch.ids[row],
        "input_ids": input_ids,
        "labels": batch.labels[row].tolist(),
        "attention_mask": batch.attention_mask[row].tolist(),
        "num_mel_frames": int(batch.input_features_mask[row].sum()),
        "num_audio_tokens": sum(token == collator.audio_id for token in input_ids),
    }


def picture(
    batch: Batch, row: int, utterance: Utterance, collator: TrainingCollator, *, color: bool, drawn: Sequence[str] = ()
) -> str:
    """A row for reading: runs of audio and padding folded, supervised tokens in [brackets] (and green).

    A letter that takes several tokens is shown whole, where it is supervised with their number: [ä]×2.
    drawn: what augmentation did to it.
    """
    assert batch.labels is not None
    ids, labels = batch.input_ids[row].tolist(), batch.labels[row].tolist()
    mask = batch.attention_mask[row].tolist()
    parts: list[str] = []
    position = 0
    while position < len(ids):
        run = _run_length(ids, mask, position, collator.audio_id)
        if not mask[position]:
            parts.append(f" {run} x padding")
        elif run > 1 or ids[position] == collator.audio_id:
            parts.append(f"<|audio_pad|> x {run}")
        else:
            is_supervised = labels[position] != IGNORED
            alike = [(label != IGNORED) is is_supervised for label in labels[position : position + MAX_TOKENS]]
            end = position + (alike.index(False) if False in alike else len(alike))
            text, run = whole_letters([collator.token_bytes(token) for token in ids[position:end]])
            parts.append(_shown(text, run, is_supervised, color=color))
        position += run
    num_supervised = sum(label != IGNORED for label in labels)
    num_audio = sum(token == collator.audio_id for token in ids)
    augmented = f"  augmented: {visible('; '.join(drawn))}\n" if drawn else ""
    return (
        f"{visible(utterance.id)}  {float(batch.duration_s[row]):.2f} s, {utterance.language or 'language unknown'}\n"
        f"  {int(batch.input_features_mask[row].sum())} mel frames of {batch.input_features.shape[2]}, "
        f"{num_audio} audio tokens, {sum(mask)} tokens of {len(ids)}, {num_supervised} supervised\n"
        f"{augmented}  {''.join(parts)}\n"
    )


def _run_length(ids: list[int], mask: list[int], begin: int, audio_id: int | None) -> int:
    """How many positions from `begin` are padding, or audio placeholders; 1 for any other token."""
    end = begin + 1
    if not mask[begin]:
        while end < len(ids) and not mask[end]:
            end += 1
    elif ids[begin] == audio_id:
        while end < len(ids) and mask[end] and ids[end] == audio_id:
            end += 1
    return end - begin


def whole_letters(tokens: Sequence[bytes]) -> tuple[str, int]:
    """The text of the first tokens, as few as end with a whole letter, and how many these are; U+FFFD for what never does."""
    for number in range(1, len(tokens) + 1):
        try:
            return b"".join(tokens[:number]).decode(), number
        except UnicodeDecodeError as error:
            if error.reason != "unexpected end of data":
                break
    return tokens[0].decode(errors="replace"), 1


def _shown(text: str, num_tokens: int, is_supervised: bool, *, color: bool) -> str:
    """Supervised tokens with their borders; those of the prompt run on, as text."""
    text = visible(text.replace("\n", "\\n"))
    if not is_supervised:
        return f"{_GIVEN}{text}{_RESET}" if color else text
    # A vowel sign or tone mark would otherwise sit on the bracket before it.
    carrier = "\u25cc" if unicodedata.category(text[:1] or " ").startswith("M") else ""
    letter = f"[{carrier}{text}]" + (f"×{num_tokens}" if num_tokens > 1 else "")
    return f"{_SUPERVISED}{letter}{_RESET}" if color else letter
