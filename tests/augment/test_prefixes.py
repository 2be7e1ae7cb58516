"""Clips cut at the end of a chunk, with the transcript of what had been said by then: where, how often, and what is taught."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qasr_train.augment.augmenter import make_augmenter
from qasr_train.augment.clip_changes import Changes, make_changes
from qasr_train.augment.prefixes import chunk_ends, describe_prefixes, draw_prefixes
from qasr_train.augment.settings import AugmentConfig, ContextConfig, JoinConfig, PrefixConfig, SpeedConfig
from qasr_train.augment.variants import Variant, VariedUtterances, mark_copies, vary
from qasr_train.data.feature_cache import CachedMels
from qasr_train.data.settings import CacheConfig
from qasr_train.data.workers import load_recording
from qasr_train.errors import ConfigError, DataError
from qasr_train.jobs.recipes import load_config
from qasr_train.jobs.show_batch import show_batch
from qasr_train.manifest import Utterance
from qasr_train.sources.table import TableBuilder
from qasr_train.timed.base import TimedWord
from tests.helpers import tone, utterance, write_wav
from tests.helpers_trainer import tiny_learner

ON = PrefixConfig(1.0, [2.0])
# Said in 7 s of a recording, with 0.3 s after it.
WORDS = (
    TimedWord("two", 1.0, 1.5),
    TimedWord("small", 1.6, 2.4),  # under way at 2 s
    TimedWord("pills", 2.5, 4.0),  # over at 4 s
    TimedWord("a", None, None),
    TimedWord("day", 6.5, 7.0),  # so that at 6 s nobody knows whether "a" was said
)


def clip(**fields: Any) -> Utterance:
    return utterance(**{"id": "u", "text": "Two small pills, a day.", "duration_s": 7.3, "words": WORDS, **fields})


def clips(number: int, **fields: Any) -> list[Utterance]:
    return [clip(id=f"u{n}", **fields) for n in range(number)]


def drawn(rows: Sequence[Utterance], config: PrefixConfig = ON, *, epoch: int = 0) -> VariedUtterances:
    cut = draw_prefixes(rows, config, drawn_of=rows, seed=1, epoch=epoch)
    assert isinstance(cut, VariedUtterances)
    return cut


def texts_by_cut(rows: Sequence[Utterance]) -> dict[float, str]:
    return {round(one.duration_s or 0, 4): one.text or "" for one in rows}


def test_cuts_stand_at_chunk_ends_where_the_times_tell_what_was_said() -> None:
    assert chunk_ends(clip(), [2.0, 3.5]) == [[2.0, 4.0], [3.5, 7.0]]
    assert chunk_ends(clip(), [7.3, 7.295]) == [[], []]  # nothing, or nothing to speak of, would be left out
    assert texts_by_cut(drawn(clips(60))) == {2.0: "Two", 4.0: "Two small pills,"}
    assert texts_by_cut(drawn(clips(60), PrefixConfig(1.0, [3.5]))) == {
        3.5: "Two small",
        7.0: "Two small pills, a day.",
    }


def test_times_are_those_of_the_recording_and_speed_comes_first() -> None:
    """The same words 10 s into a recording, at 1.25 times the speed: 2 s of the clip are 2.5 s of the recording."""
    later = tuple(word.moved(10.0) for word in WORDS)
    fast = vary(clip(start_s=10.0, end_s=17.3, words=later), speed=1.25, duration_s=7.3 / 1.25)
    assert chunk_ends(fast, [2.0]) == [[2.0]]  # 12.5; not 15.0, where "a" may have been said
    [one] = drawn([fast])
    assert isinstance(one, Variant) and one.is_prefix and one.speed == 1.25
    assert (one.start_s, one.end_s, one.duration_s, one.text) == (10.0, 12.5, 2.0, "Two small")
    assert [word.text for word in one.words] == ["two", "small"]


def test_a_cut_before_a_word_has_ended_is_taught_as_no_speech() -> None:
    """Cuts of 1.2 s: at 1.2 "two" is under way, at 2.4 "small" ends, at 4.8 and 6.0 nobody knows of "a"."""
    assert texts_by_cut(drawn(clips(60), PrefixConfig(1.0, [1.2]))) == {1.2: "", 2.4: "Two small", 3.6: "Two small"} | {
        7.2: "Two small pills, a day."
    }
    row = drawn([clip()], PrefixConfig(1.0, [1.2]))[0]
    assert row.language == "English"  # what becomes of it is the collator's


def test_a_share_is_cut_by_seed_epoch_id_and_copy_alone() -> None:
    rows, config = clips(800), PrefixConfig(0.25, [2.0, 3.5])
    cuts_s = drawn(rows, config).numbers
    assert np.mean(~np.isnan(cuts_s)) == pytest.approx(0.25, abs=0.05)
    counted = Counter(cuts_s[~np.isnan(cuts_s)].tolist())
    assert counted.keys() == {2.0, 4.0, 3.5, 7.0} and min(counted.values()) > 30  # a quarter of 200 each
    backwards = drawn(rows[::-1], config).numbers[::-1]
    assert np.array_equal(cuts_s, backwards, equal_nan=True)
    assert not np.array_equal(cuts_s, drawn(rows, config, epoch=1).numbers, equal_nan=True)
    twice = drawn(mark_copies([*rows, *rows]), config).numbers
    assert np.array_equal(twice[:800], cuts_s, equal_nan=True)
    assert not np.array_equal(twice[800:], cuts_s, equal_nan=True)


def test_a_table_is_cut_as_a_list_is() -> None:
    rows = [*clips(30), *(utterance(id=f"n{n}", duration_s=7.3) for n in range(30))]
    builder = TableBuilder()
    for one in rows:
        builder.add(one)
    table = builder.finish().take(np.arange(60)[::-1])
    cut = drawn(table, PrefixConfig(0.5, [2.0]))
    assert list(cut) == list(drawn(rows, PrefixConfig(0.5, [2.0])))[::-1] == [cut[n] for n in range(60)]
    assert list(cut[10:40]) == list(cut)[10:40]
    assert {one.id[0] for one in cut if isinstance(one, Variant)} == {"u"}


def test_a_cut_clip_is_not_joined_and_not_lost() -> None:
    config = AugmentConfig(prefix=PrefixConfig(0.5, [2.0]), join=JoinConfig(1.0), speed=SpeedConfig(0.5))
    made = make_augmenter(config, seed=1, max_duration_s=30.0, max_target_tokens=1024)
    assert made is not None
    planned = [one for one in made.plan(clips(40), 0, source="main") if isinstance(one, Variant)]
    joined = [part for one in planned for part in one.parts]
    cut = [one for one in planned if one.is_prefix]
    assert 10 < len(cut) < 30 and not any(isinstance(part, Variant) and part.is_prefix for part in joined)
    assert len(cut) + len(joined) + sum(not one.parts and not one.is_prefix for one in planned) <= 40
    assert {one.id for one in cut}.isdisjoint(part.id for part in joined)


@pytest.fixture
def recorded(tmp_path: Path) -> Utterance:
    """7.3 s of a sweep, in which every stretch is another one."""
    time_s = np.arange(round(7.3 * 16_000)) / 16_000
    write_wav(tmp_path / "u.wav", (0.4 * np.sin(2 * np.pi * (200 + 80 * time_s) * time_s)).astype(np.float32))
    return clip(audio=str(tmp_path / "u.wav"))


@pytest.mark.parametrize("family", ["qwen3_asr", "whisper"])
def test_a_cut_clip_is_taught_as_a_shorter_recording_with_a_shorter_transcript(
    recorded: Utterance, tmp_path: Path, family: str
) -> None:
    cut = drawn([recorded])[0]
    waveform = load_recording(recorded).waveform[: round((cut.duration_s or 0) * 16_000)]
    write_wav(tmp_path / "short.wav", waveform)
    short = replace(recorded, audio=str(tmp_path / "short.wav"), text=texts_by_cut([cut])[cut.duration_s or 0])
    collator = tiny_learner(family).collator
    made, expected = (collator.for_training([load_recording(recorded), load_recording(one)]) for one in (cut, short))
    for name in ("input_ids", "labels", "attention_mask", "input_features_mask", "duration_s"):
        assert torch.equal(getattr(made, name), getattr(expected, name)), name
    # Written as 16 bits and read again.
    torch.testing.assert_close(made.input_features, expected.input_features, atol=2e-2, rtol=0)


def test_a_cache_of_features_never_gives_the_whole_clip_for_a_cut_one(recorded: Utterance, tmp_path: Path) -> None:
    cached = CachedMels.open(CacheConfig(dir=str(tmp_path / "cache")), tiny_learner("qwen3_asr").collator)
    for one in (recorded, vary(recorded, end_s=2.0), vary(recorded, end_s=4.0)):
        for _ in range(2):  # made, then read
            held = cached.load(one)
            assert held.num_samples == round((one.end_s or 7.3) * 16_000)
            assert held.precomputed is not None and held.precomputed.mel is not None
            assert held.precomputed.mel.shape[1] == held.num_samples // 160


def test_what_cannot_be_cut_is_counted_by_its_reason() -> None:
    other = [replace(one, id=f"o{one.id}", text="Another text.") for one in clips(2)]
    blind = (TimedWord("hm", None, None),)
    rows = [*clips(5), *other, utterance(id="n"), clip(id="s", duration_s=2.0), clip(id="b", text="hm", words=blind)]
    assert describe_prefixes(ON, {"main": rows, "replay": [utterance(id="r")]}) == [
        "source main: augment.prefix can cut 5 clips; not 1 without times of their words; 2 with words that are not those of the "
        "transcript; 1 no longer than a chunk; 1 without a chunk's end at which the times tell what had been said",
        "source replay: augment.prefix can cut 0 clips; not 1 without times of their words",
    ]


def test_sources_of_which_nothing_can_be_cut_are_refused() -> None:
    rows = {"main": [utterance(id="n"), clip(duration_s=1.0)]}
    with pytest.raises(DataError) as refused:
        describe_prefixes(PrefixConfig(0.25), rows)
    assert str(refused.value) == (
        "augment.prefix.probability=0.25: no clip of data.train can be cut (1 without times of their words; 1 no longer than a "
        "chunk); give manifests with `words`, as recipes/align.py writes them, or set it to 0"
    )
    assert describe_prefixes(PrefixConfig(0.25), rows, is_streamed=True) != []
    assert Changes().describe(rows) == []


def test_a_stream_without_times_is_told_of_when_it_is_read(caplog: pytest.LogCaptureFixture) -> None:
    changes = make_changes(
        AugmentConfig(prefix=ON), ContextConfig(), seed=0, max_duration_s=30.0, max_target_tokens=1024
    )
    changes.tell_of_window("web", clips(1))
    assert caplog.text == ""
    changes.tell_of_window("web", [utterance(id="n")])
    assert "source web: none of the first 1 clips has times of its words" in caplog.text


def test_contradictions_are_a_sentence_each() -> None:
    given = ["data.train.main.path=x.jsonl", "run_dir=x", "augment.prefix.probability=0.5"]
    with pytest.raises(ConfigError, match=r"an aligner is given all of it; set augment\.prefix\.probability=0"):
        load_config("finetune", [*given, "model=tiny_aligner", "objective=slots"])
    with pytest.raises(ConfigError, match=r"encoder_outputs=true keeps .* and augment changes that in every epoch"):
        load_config("finetune", [*given, "data.cache.dir=c", "data.cache.encoder_outputs=true"])
    assert load_config("finetune", [*given, "data.cache.dir=cache"]).augment.prefix.chunks_s == [2.0]
    with pytest.raises(ConfigError, match="name at least one length"):
        PrefixConfig(0.5, [])
    with pytest.raises(ConfigError, match=r"augment\.prefix\.chunks_s\[0\]=0: expected at least 0\.1 \(seconds"):
        PrefixConfig(0.5, [0])


def test_show_batch_shows_the_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_wav(tmp_path / "u.wav", tone(7.3))
    words = [{"text": word.text, "start": word.start_s, "end": word.end_s} for word in WORDS]
    row = {"id": "u", "audio": "u.wav", "text": "Two small pills, a day.", "language": "en", "words": words}
    (tmp_path / "m.jsonl").write_text(json.dumps(row) + "\n")
    given = [f"data.train.main.path={tmp_path / 'm.jsonl'}", "augment.prefix.probability=1"]
    show_batch(load_config("show_batch", ["model=tiny", *given, "augment.prefix.chunks_s=[3.5]", "epoch=2"]))
    shown = capsys.readouterr().out
    assert ("augmented: cut at 3.5 s, 2 words said" in shown) != ("augmented: cut at 7 s, 5 words said" in shown)
