"""Noise suites: the ratio that is asked for, the same noise for a clip everywhere, one set a condition, the report by ratio."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from qasr_train.errors import AudioError, ConfigError, DataError
from qasr_train.evaluation.settings import NoiseConditionsConfig, SetConfig, SuiteConfig
from qasr_train.evaluation.suites.noise import conditions, parse_set_name
from qasr_train.evaluation.suites.suite import load_suite
from qasr_train.jobs.evaluate import evaluate
from qasr_train.jobs.recipes import load_config
from qasr_train.jobs.settings.evaluate import EvaluateConfig
from qasr_train.models.qwen3_asr.config import Qwen3ASRConfig
from qasr_train.sources.settings import SourceConfig
from qasr_train.transcription import run as transcription
from qasr_train.transcription.sets import UtteranceSet
from qasr_train.transcription.settings import DecodeConfig
from tests.helpers import SHARED, needs_shared, tone, utterance, write_wav
from tests.helpers_fake_model import FakeCollator, FakeModel


@pytest.fixture
def noises(tmp_path: Path) -> Path:
    """Three noises, shorter and longer than the clips of one second."""
    rng = np.random.default_rng(5)
    for number, seconds in enumerate((0.4, 1.7, 3.0)):
        write_wav(
            tmp_path / "noise" / f"n{number}.wav", (0.1 * rng.standard_normal(int(16_000 * seconds))).astype("f4")
        )
    return tmp_path / "noise"


@pytest.fixture
def rooms(tmp_path: Path) -> Path:
    """One impulse response: the direct sound, and half of it 50 ms later."""
    response = np.zeros(1600, dtype=np.float32)
    response[0], response[800] = 1.0, 0.5
    write_wav(tmp_path / "rooms" / "r.wav", response, subtype="FLOAT")
    return tmp_path / "rooms"


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    rows = []
    for number in range(4):
        write_wav(tmp_path / f"u{number}.wav", tone(1.0, frequency_hz=200 + 50 * number, peak=0.1), subtype="FLOAT")
        rows.append({"id": f"u{number}", "audio": f"u{number}.wav", "text": "one", "language": "English"})
    path = tmp_path / "m.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def suite_of(manifest: Path, **noise: object) -> SuiteConfig:
    sets = {"ward": SetConfig(source=SourceConfig(path=str(manifest)))}
    return SuiteConfig(name="t", normalizer="none", sets=sets, noise=NoiseConditionsConfig(**noise))  # type: ignore[arg-type]


def loaded(manifest: Path, **noise: object) -> dict[str, UtteranceSet]:
    return {one.name: one for one in load_suite(suite_of(manifest, **noise))}


def test_every_condition_is_a_set_of_its_own(manifest: Path, noises: Path, rooms: Path) -> None:
    names = list(loaded(manifest, files=str(noises), rooms=str(rooms), snrs_db=[0.0, 20.0]))
    dry = ["ward@clean", "ward@20dB", "ward@0dB"]
    assert names == [*dry, "ward@room", "ward@room+20dB", "ward@room+0dB"]
    assert list(loaded(manifest, rooms=str(rooms))) == ["ward@clean", "ward@room"]
    assert list(loaded(manifest)) == ["ward"]


@pytest.mark.parametrize("snr_db", [20.0, 10.0, 5.0, 0.0, -5.0])
def test_the_noise_added_has_the_ratio_asked_for(manifest: Path, noises: Path, snr_db: float) -> None:
    sets = loaded(manifest, files=str(noises), snrs_db=[snr_db])
    clean, noisy = sets["ward@clean"], sets[f"ward@{snr_db:g}dB"]
    for one in clean.utterances:
        speech, mixed = clean.load_clip(one), noisy.load_clip(one)
        assert len(mixed) == len(speech)
        # A tone is equally loud throughout, so all of it is active; nothing comes near full scale, so no gain is changed.
        added = mixed - speech
        assert 10 * np.log10(np.mean(speech**2) / np.mean(added**2)) == pytest.approx(snr_db, abs=0.01)


def test_a_clip_has_the_same_noise_at_every_ratio_and_whatever_else_is_loaded(manifest: Path, noises: Path) -> None:
    sets = loaded(manifest, files=str(noises))
    one = sets["ward@clean"].utterances[2]
    speech = sets["ward@clean"].load_clip(one)
    loud, soft = (sets[f"ward@{ratio}dB"].load_clip(one) - speech for ratio in (0, 20))
    np.testing.assert_allclose(loud, 10 * soft, atol=1e-5)
    again = loaded(manifest, files=str(noises), snrs_db=[0.0])["ward@0dB"]
    for other in reversed(again.utterances):
        again.load_clip(other)
    np.testing.assert_array_equal(again.load_clip(one) - speech, loud)


def test_clips_differ_in_noise_and_another_seed_gives_other_noise(manifest: Path, noises: Path) -> None:
    def added(number: int, seed: int) -> np.ndarray:
        sets = loaded(manifest, files=str(noises), snrs_db=[0.0], seed=seed)
        one = sets["ward@0dB"].utterances[number]
        return sets["ward@0dB"].load_clip(one) - sets["ward@clean"].load_clip(one)

    first, second, reseeded = added(0, 0), added(1, 0), added(0, 1)
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.2
    assert abs(np.corrcoef(first, reseeded)[0, 1]) < 0.2


def test_a_room_adds_its_echo_before_the_noise(manifest: Path, noises: Path, rooms: Path) -> None:
    sets = loaded(manifest, files=str(noises), rooms=str(rooms), snrs_db=[10.0])
    one = sets["ward@clean"].utterances[0]
    dry, wet = sets["ward@clean"].load_clip(one), sets["ward@room"].load_clip(one)
    echoed = dry + 0.5 * np.concatenate([np.zeros(800), dry[:-800]])
    echoed *= np.sqrt(np.mean(dry**2) / np.mean(echoed**2))
    np.testing.assert_allclose(wet, echoed, atol=1e-4)
    added = sets["ward@room+10dB"].load_clip(one) - wet
    assert np.corrcoef(added, sets["ward@10dB"].load_clip(one) - dry)[0, 1] == pytest.approx(1.0, abs=1e-3)


def test_a_silent_stretch_is_drawn_again_and_silent_noise_is_an_error(manifest: Path, tmp_path: Path) -> None:
    folder = tmp_path / "quiet"
    write_wav(folder / "a.wav", np.zeros(40_000, dtype=np.float32))
    one = load_suite(suite_of(manifest, files=str(folder)))[1]
    with pytest.raises(AudioError, match=r"8 stretches of noise in a row are silent, the last of .*a\.wav; leave such"):
        one.load_clip(one.utterances[0])
    write_wav(folder / "b.wav", tone(3.0))
    one = load_suite(suite_of(manifest, files=str(folder), snrs_db=[0.0]))[1]
    clean = load_suite(suite_of(manifest))[0]
    for row in one.utterances:
        assert np.abs(one.load_clip(row) - clean.load_clip(row)).max() > 0.01


def test_names_of_sets_are_read_back(noises: Path, rooms: Path) -> None:
    for condition in conditions(NoiseConditionsConfig(files=str(noises), rooms=str(rooms), snrs_db=[12.5, 0.0, -5.0])):
        assert parse_set_name(condition.set_name("a@b")) == ("a@b", condition.snr_db, condition.has_room)
    for name in ("ward", "ward@", "ward@+", "ward@room+", "@clean", "ward@10", "dr@dB"):
        assert parse_set_name(name) is None


def test_the_digest_notices_what_changes_the_sound(manifest: Path, noises: Path, rooms: Path) -> None:
    def digests(**noise: object) -> set[str]:
        return {one.digest() for one in load_suite(suite_of(manifest, files=str(noises), **noise))}

    before = digests()
    assert len(before) == 5
    assert digests() == before
    clean = load_suite(suite_of(manifest, files=str(noises)))[0].digest()
    assert before & digests(seed=1) <= {clean}
    assert len(digests(rooms=str(rooms))) == 10
    write_wav(noises / "n9.wav", tone(1.0))
    assert before & digests() <= {clean}


def test_an_evaluation_hears_the_noise_and_reports_errors_by_ratio(
    manifest: Path, noises: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[tuple[str, float]] = []

    class Collator(FakeCollator):
        def for_transcription(self, recordings, **how):  # type: ignore[no-untyped-def]
            heard.extend((r.utterance.id, float(np.mean(r.waveform**2))) for r in recordings)
            return super().for_transcription(recordings, **how)

    texts = {"u0": "one", "u1": "one", "u2": "two", "u3": "one"}
    monkeypatch.setattr(transcription, "load_model", lambda config, **_: FakeModel(texts, collator=Collator()))
    config = EvaluateConfig(
        model=Qwen3ASRConfig(path=str(tmp_path / "model")),
        suite=suite_of(manifest, files=str(noises), snrs_db=[0.0]),
        decode=DecodeConfig(num_warmup_batches=0, check_batch_invariance=0),
        run_dir=str(tmp_path / "run"),
    )
    evaluate(config)
    # 0.1 peak: a mean power of 0.005; noise at 0 dB doubles it.
    assert sorted(round(power, 4) for _, power in heard) == pytest.approx([0.005] * 4 + [0.01] * 4, rel=0.1)
    report = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "## WER in percent by signal-to-noise ratio" in report
    assert "|  | no noise | 0 dB |" in report
    assert "| ward | 25.00 | 25.00 |" in report
    assert 'aria-label="error rate against noise"' in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    changed = replace(config, resume=True, suite=suite_of(manifest, files=str(noises), snrs_db=[0.0], seed=3))
    with pytest.raises(ConfigError, match=r"suite\.noise\.seed"):
        evaluate(changed)
    write_wav(noises / "n9.wav", tone(1.0))
    with pytest.raises(ConfigError, match="the utterances of set 'ward@0dB' are not those"):
        evaluate(replace(config, resume=True))


def test_noise_from_the_command_line(manifest: Path, noises: Path) -> None:
    config = load_config(
        "evaluate",
        [
            "run_dir=r",
            "suite=noise",
            f"suite.manifest={manifest}",
            f"suite.noises={noises}",
            "suite.noise.snrs_db=[5]",
        ],
    )
    assert [one.name for one in load_suite(config.suite)] == ["own@clean", "own@5dB"]
    with pytest.raises(ConfigError, match="suite.noises is missing: give suite.noises=VALUE"):
        load_config("evaluate", ["run_dir=r", "suite=noise", f"suite.manifest={manifest}"])


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"files": "nowhere"}, DataError, "suite.noise.files=nowhere: no such file or folder"),
        ({"rooms": "nowhere"}, DataError, "suite.noise.rooms=nowhere: no such file or folder"),
        ({"files": "n", "snrs_db": []}, ConfigError, r"suite.noise.snrs_db=\[\]: name at least one ratio"),
        ({"snrs_db": [5.0, 5.0]}, ConfigError, "a ratio stands twice"),
        ({"snrs_db": [200.0]}, ConfigError, r"suite\.noise\.snrs_db"),
    ],
)
def test_mistakes_are_named(manifest: Path, settings: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        load_suite(suite_of(manifest, **settings))


@needs_shared
def test_real_noises_and_rooms_give_sound_clips(manifest: Path) -> None:
    sets = load_suite(suite_of(manifest, files=f"{SHARED}/noise/manifest.json", rooms=f"{SHARED}/rir/manifest.json"))
    assert len(sets) == 10
    for one in sets:
        for row in (
            utterance(id=f"x{number}", audio=str(manifest.parent / "u0.wav"), start_s=0.1) for number in range(12)
        ):
            clip = one.load_clip(row)
            assert len(clip) == 14_400
            assert np.isfinite(clip).all()
            assert np.abs(clip).max() <= 1.0
