"""What a model is evaluated on: the suites of configs/suite, loaded from local data of the same layout; mistakes in them."""

import json
import shutil
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.evaluation.settings import SetConfig, SuiteConfig
from qasr_train.evaluation.suites.suite import load_suite
from qasr_train.jobs.recipes import CONFIG_DIR, load_config
from qasr_train.sources.settings import SourceConfig, SourceFormat
from qasr_train.text.languages import LANGUAGES
from qasr_train.text.normalize import NORMALIZERS
from tests.helpers import tone, write_wav

SUITES = sorted(path.stem for path in (CONFIG_DIR / "suite").glob("*.yaml"))
# What the command line must give, because it differs for every user.
PATHS = {
    "alignment": ["suite.manifest=m.jsonl", "model=tiny_aligner"],
    "own": ["suite.manifest=m.jsonl"],
    "noise": ["suite.manifest=m.jsonl", "suite.noises=noise"],
    "demo": ["suite.sets.medical.source.path=m.jsonl", "suite.sets.general.source.path=g.jsonl"],
    "real_digits": ["suite.sets.digits.source.path=m.jsonl"],
    "common_voice": [
        "suite.sets.common_voice.source.path=test.tsv",
        "suite.sets.common_voice.source.audio_root=clips",
    ],
}


def composed(name: str, *overrides: str) -> SuiteConfig:
    """The suite as a command line with these overrides gives it."""
    config = load_config("evaluate", ["run_dir=unused", f"suite={name}", *PATHS.get(name, []), *overrides])
    return config.suite


@cache
def shipped(name: str) -> SuiteConfig:
    """The suite as it ships, composed once; not to be changed."""
    return composed(name)


def write_rows(folder: Path, rows: list[dict[str, object]], name: str = "m.jsonl") -> Path:
    """A manifest with these rows, one WAV for all."""
    write_wav(folder / "a.wav", tone(0.2))
    path = folder / name
    path.write_text("".join(json.dumps({"audio": "a.wav", "text": "hello", **row}) + "\n" for row in rows))
    return path


def one_set(path: Path, **fields: object) -> SuiteConfig:
    return SuiteConfig(name="t", sets={"s": SetConfig(source=SourceConfig(path=str(path)), **fields)})  # type: ignore[arg-type]


# --- the suites that ship ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SUITES)
def test_every_suite_composes_and_names_itself(name: str) -> None:
    suite = shipped(name)
    assert isinstance(suite, SuiteConfig)
    assert suite.name == name
    assert suite.sets
    assert suite.normalizer in NORMALIZERS
    assert all(one.source.path not in ("", "???") for one in suite.sets.values())


def test_the_suites_have_the_sets_their_benchmarks_have() -> None:
    assert len(shipped("open_asr_english").sets) == 7
    assert len(shipped("open_asr_multilingual").sets) == 13
    november = shipped("open_asr_english_2026_11")
    assert set(november.sets) - set(shipped("open_asr_english").sets) == {"monsoon_en_in"}
    assert len(november.sets) == 8
    assert set(shipped("open_asr_dutch").sets) == {"fleurs_nl", "mcv_nl", "mls_nl"}
    assert {
        one.normalizer for one in (november, *map(shipped, ("open_asr_dutch", "open_asr_hindi", "open_asr_mandarin")))
    } == {"leaderboard-2026-11"}
    fleurs = shipped("fleurs").sets
    assert {one.source.language for one in fleurs.values()} == set(LANGUAGES)
    assert len(shipped("fleurs_12").chosen_sets()) == 12
    assert len(shipped("fleurs_20").chosen_sets()) == 20
    assert len(shipped("open_asr_longform").sets) == 2 + 8
    assert {one.source.language for one in shipped("chinese").sets.values()} == {"Chinese"}
    assert [one.role.value for one in shipped("demo").sets.values()] == ["target", "guard"]


def test_leaderboard_suites_use_the_leaderboards_rules_and_split() -> None:
    for name in ("open_asr_english", "open_asr_multilingual", "open_asr_longform", "legal_financial"):
        suite = shipped(name)
        assert suite.normalizer == "leaderboard-2026-08"
        assert all((one.source.split or "").startswith("test") for one in suite.sets.values())
        assert all(one.source.format is SourceFormat.hf for one in suite.sets.values())


def test_ones_own_manifest_is_one_setting(tmp_path: Path) -> None:
    manifest = write_rows(tmp_path, [{"id": "a"}, {"id": "b"}])
    [own] = load_suite(composed("own", f"suite.manifest={manifest}", "suite.sets.own.source.language=de"))
    assert (own.name, own.role) == ("own", None)
    assert [(u.id, u.language) for u in own.utterances] == [("a", "German"), ("b", "German")]


def test_with_offered_terms_every_set_stands_there_three_times(tmp_path: Path) -> None:
    manifest = write_rows(tmp_path, [{"id": "a", "text": "a stent"}, {"id": "b", "text": "none"}])
    (tmp_path / "terms.txt").write_text("stent\nRamipril\n")
    offered = [f"suite.manifest={manifest}", f"suite.context.terms={tmp_path / 'terms.txt'}"]
    config = composed("own", *offered, "suite.sets.own.role=target")
    assert config.terms == str(tmp_path / "terms.txt")  # their recall is counted as well
    sets = load_suite(config)
    assert [(one.name, one.role) for one in sets] == [
        ("own, no context", "target"),
        ("own, spoken terms + distractors", "target"),
        ("own, distractors only", "target"),
    ]
    assert [one.utterances[0].context for one in sets] in (
        [None, "stent, Ramipril", "Ramipril"],
        [None, "Ramipril, stent", "Ramipril"],
    )
    assert len({one.digest() for one in sets}) == 3
    with pytest.raises(DataError, match="set 'own': no term of suite.context.terms=.* is spoken in it"):
        (tmp_path / "terms.txt").write_text("Marcumar\n")
        load_suite(composed("own", *offered, "suite.context.only_with_terms=true"))


def test_digits_are_the_test_rows_alone(tmp_path: Path) -> None:
    manifest = write_rows(
        tmp_path, [{"id": i, "split": s} for i, s in (("fsdd_a", "train"), ("fsdd_b", "test"), ("ljs_c", "test"))]
    )
    [digits] = load_suite(composed("real_digits", f"suite.sets.digits.source.path={manifest}"))
    assert [u.id for u in digits.utterances] == ["fsdd_b"]
    assert digits.role == "target"


def write_hub_layout(folder: Path, subset: str, split: str, rows: list[dict[str, object]]) -> None:
    """A dataset repository as the Hub lays it out: Parquet with audio bytes, subsets and splits declared in the README."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    audio = write_wav(folder / "clip.wav", tone(0.3)).read_bytes()
    (folder / "clip.wav").unlink()
    table = pa.Table.from_pylist([{"audio": {"bytes": audio, "path": f"{i}.wav"}, **row} for i, row in enumerate(rows)])
    (folder / subset).mkdir(parents=True)
    pq.write_table(table, folder / subset / f"{split}-00000-of-00001.parquet")
    declared = f"- config_name: {subset}\n  data_files:\n  - split: {split}\n    path: {subset}/{split}-*.parquet\n"
    (folder / "README.md").write_text(f"---\nconfigs:\n{declared}---\n")


@pytest.mark.parametrize(
    ("suite", "name", "subset", "split", "row", "text", "language"),
    [
        ("open_asr_english", "ami", "ami_cleaned", "test", {"id": "AMI_1", "text": "Right."}, "Right.", "English"),
        (
            "open_asr_english",
            "librispeech_other",
            "librispeech",
            "test.other",
            {"text": "HE SAID"},
            "HE SAID",
            "English",
        ),
        (
            "open_asr_multilingual",
            "mcv_it",
            "mcv_it",
            "test",
            {"text": "Ciao", "file_name": "x.mp3"},
            "Ciao",
            "Italian",
        ),
        (
            "fleurs",
            "fleurs_zh",
            "cmn_hans_cn",
            "test",
            # FLEURS: `id` numbers the sentence, `language` is a name of its own, the raw transcription has punctuation.
            {"id": 7, "raw_transcription": "你好。", "transcription": "你好", "language": "Mandarin Chinese"},
            "你好",
            "Chinese",
        ),
        (
            "mls",
            "mls_pl",
            "polish",
            "test",
            {"id": "1_2_3", "transcript": "dzień dobry", "speaker_id": "1", "begin_time": 71.5, "end_time": 80.0},
            "dzień dobry",
            "Polish",
        ),
        ("open_asr_longform", "earnings21", "earnings21", "test", {"text": "Good day."}, "Good day.", "English"),
        ("open_asr_longform", "coraal_vld", "VLD", "test", {"text": "yeah"}, "yeah", "English"),
        (
            "chinese",
            "wenetspeech_net",
            "default",
            "test_net",
            # Where the segment lay in its recording, and the path of another machine, are no business of ours.
            {"begin_time": 3.5, "end_time": 9.0, "text": "你好", "WavPath": "/x/y.wav", "confidence": 1},
            "你好",
            "Chinese",
        ),
        ("chinese", "aishell1", "default", "test", {"WavPath": "/x.wav", "text": "你 好"}, "你 好", "Chinese"),
        ("chinese", "kespeech", "default", "test", {"Text": "你好"}, "你好", "Chinese"),
        ("medical", "multimed_de", "German", "test", {"text": "Die Milz", "duration": 0.3}, "Die Milz", "German"),
        ("medical", "eka_hi", "hi", "test", {"text": "बुखार"}, "बुखार", "Hindi"),
        (
            "open_asr_hindi",
            "monsoon_hi",
            "default",
            "test",
            {"text": [["मैं"], ["हूँ", "हूं"]], "speaker_id": "s1"},
            '[["मैं"], ["हूँ", "हूं"]]',
            "Hindi",
        ),
        ("legal_financial", "spgispeech", "spgispeech", "test", {"text": "our margin"}, "our margin", "English"),
    ],
)
def test_a_hub_set_loads_from_a_local_copy_of_its_layout(
    tmp_path: Path, suite: str, name: str, subset: str, split: str, row: dict, text: str, language: str
) -> None:
    config = composed(suite, f"suite.only=[{name}]", f"suite.sets.{name}.source.path={tmp_path / 'hub'}")
    id_column = config.sets[name].source.columns.get("id", "id")
    rows = [row, row | {"id": "AMI_2"} if "id" in row and suite != "fleurs" else row]
    if id_column not in ("", "id"):
        rows = [row | {id_column: f"BAC{number}"} for number, row in enumerate(rows)]
    write_hub_layout(tmp_path / "hub", subset, split, rows)
    [loaded] = load_suite(config)
    assert loaded.name == name
    assert len({u.id for u in loaded.utterances}) == 2
    assert [(u.text, u.language) for u in loaded.utterances] == [(text, language)] * 2
    assert loaded.utterances[0].start_s is None  # MLS states where the clip lay in the book, not in the clip


def test_mixed_languages_that_cannot_be_told_apart_are_refused_before_a_clip_is_heard(tmp_path: Path) -> None:
    write_hub_layout(tmp_path / "hub", "default", "test", [{"text": "hallo the meeting", "id": "x"}])
    source = [f"suite.sets.eka_en.source.{one}" for one in (f"path={tmp_path / 'hub'}", "subset=null", "split=test")]
    with pytest.raises(DataError, match="mixed=true: no reference holds letters of two scripts"):
        load_suite(composed("medical", *source, "suite.only=[eka_en]", "suite.mixed=true"))


def test_alternatives_that_nobody_closed_are_refused_before_a_clip_is_heard(tmp_path: Path) -> None:
    write_hub_layout(tmp_path / "hub", "default", "test", [{"text": "the { colour / color", "id": "x"}])
    source = [f"suite.sets.eka_en.source.{one}" for one in (f"path={tmp_path / 'hub'}", "subset=null", "split=test")]
    with pytest.raises(DataError, match="an alternative is opened by `{` and not closed"):
        load_suite(composed("medical", *source, "suite.only=[eka_en]"))


@pytest.mark.parametrize("split", ["split=test", "split=null"])
def test_folders_of_one_name_and_changed_ones_are_not_mixed_up(tmp_path: Path, split: str) -> None:
    def texts(folder: Path) -> list[str | None]:
        where = "suite.sets.eka_en.source"
        settings = [f"{where}.path={folder}", f"{where}.subset=null", f"{where}.{split}", "suite.only=[eka_en]"]
        return [u.text for u in load_suite(composed("medical", *settings))[0].utterances]

    for name in ("a", "b"):
        write_hub_layout(tmp_path / name / "hub", "default", "test", [{"text": name}])
    assert (texts(tmp_path / "a" / "hub"), texts(tmp_path / "b" / "hub")) == (["a"], ["b"])
    shutil.rmtree(tmp_path / "b" / "hub")
    write_hub_layout(tmp_path / "b" / "hub", "default", "test", [{"text": "changed"}])
    assert texts(tmp_path / "b" / "hub") == ["changed"]


def write_chunks(folder: Path, rows: list[dict[str, object]]) -> list[str]:
    """The two repositories of Earnings22; returns the settings that read them instead of the hub's."""
    write_hub_layout(folder / "chunked", "default", "test", rows)
    calls = [{"id": "call_a", "text": "one two three"}, {"id": "call_b", "text": "four"}]
    write_hub_layout(folder / "whole", "default", "test", calls)
    where = "suite.sets.earnings22"
    paths = [f"{where}.source.path={folder / 'chunked'}", f"{where}.parents.path={folder / 'whole'}"]
    return ["suite.only=[earnings22]", *paths]


def test_chunks_have_the_text_of_their_parent_and_their_place(tmp_path: Path) -> None:
    rows = [{"parent_id": call, "chunk_index": index} for call, index in (("call_b", 0), ("call_a", 1), ("call_a", 0))]
    [loaded] = load_suite(composed("open_asr_english", *write_chunks(tmp_path, rows)))
    assert [u.text for u in loaded.utterances] == ["four", "one two three", "one two three"]
    assert loaded.chunks is not None
    assert [loaded.chunks[u.id] for u in loaded.utterances] == [("call_b", 0), ("call_a", 1), ("call_a", 0)]
    swapped = replace(loaded, chunks={**loaded.chunks, loaded.utterances[1].id: ("call_a", 2)})
    assert swapped.digest() != loaded.digest()


def test_columns_are_kept_by_id_whatever_else_the_source_is_filtered_by(tmp_path: Path) -> None:
    rows = [{"id": f"u{i}", "text": "a", "speaker": f"s{i % 2}", "age": 20 + i, "zone": None} for i in range(4)]
    config = one_set(write_rows(tmp_path, rows))
    config.sets["s"].source.only = {"speaker": "s1"}
    [loaded] = load_suite(config, columns=["age"])
    assert [loaded.columns[u.id] for u in loaded.utterances] == [{"age": "21"}, {"age": "23"}]
    assert {u.speaker for u in loaded.utterances} == {"s1"}
    with pytest.raises(ConfigError, match=r"by=\[gender\]: no row of s has that column"):
        load_suite(config, columns=["age", "gender"])


def test_a_column_of_one_set_is_enough_and_one_of_lone_values_is_refused(tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    one = one_set(write_rows(tmp_path, [{"id": f"u{i}", "text": "a", "zone": f"z{i}"} for i in range(30)]))
    other = one_set(write_rows(tmp_path / "two", [{"id": "u0", "text": "a"}]))
    both = replace(one, sets={"s": one.sets["s"], "t": other.sets["s"]})
    with pytest.raises(ConfigError, match=r"by=\[zone\]: 30 values in 30 rows, so most stand alone"):
        load_suite(both, columns=["zone"])
    one.sets["s"].source.max_utterances = 5
    first, second = (loaded.columns for loaded in load_suite(both, columns=["zone"]))
    assert (first, second) == ({f"u{i}": {"zone": f"z{i}"} for i in range(5)}, {"u0": {}})


def test_columns_of_chunks_are_those_of_the_recording(tmp_path: Path) -> None:
    settings = write_chunks(tmp_path, [{"parent_id": "call_a", "chunk_index": 0}])
    [loaded] = load_suite(composed("open_asr_english", *settings), columns=["id"])
    assert loaded.columns == {"call_a": {"id": "call_a"}}  # of call_b there is no chunk


@pytest.mark.parametrize("row", [{"parent_id": "call_c", "chunk_index": 0}, {"parent_id": "call_a", "chunk_index": -1}])
def test_a_chunk_of_no_known_recording_is_refused(tmp_path: Path, row: dict[str, object]) -> None:
    with pytest.raises(
        DataError, match=r"set 'earnings22': .*parent_id=.*chunk_index=.*; expected an id of .*whole, and a"
    ):
        load_suite(composed("open_asr_english", *write_chunks(tmp_path, [row])))


def test_common_voice_as_downloaded(tmp_path: Path) -> None:
    write_wav(tmp_path / "clips" / "common_voice_de_1.wav", tone(0.2))
    (tmp_path / "test.tsv").write_text(
        "client_id\tpath\tsentence_id\tsentence\tup_votes\tlocale\nab12\tcommon_voice_de_1.wav\tx\tGuten Tag\t2\tde\n"
    )
    paths = [
        f"suite.sets.common_voice.source.{key}={tmp_path / name}"
        for key, name in (("path", "test.tsv"), ("audio_root", "clips"))
    ]
    [loaded] = load_suite(composed("common_voice", *paths))
    [row] = loaded.utterances
    assert (row.id, row.text, row.language, row.speaker) == ("common_voice_de_1", "Guten Tag", "German", "ab12")


# --- mistakes -----------------------------------------------------------------------------------------------------------


def test_a_missing_manifest_setting_names_the_key() -> None:
    with pytest.raises(ConfigError, match="suite.manifest is missing: give suite.manifest=VALUE"):
        load_config("evaluate", ["run_dir=unused", "suite=own"])


def test_an_unknown_suite_lists_the_choices() -> None:
    with pytest.raises(ConfigError, match=r"suite.*openasr.*open_asr_english"):
        load_config("evaluate", ["run_dir=unused", "suite=openasr"])


def test_no_suite_at_all_is_a_sentence() -> None:
    with pytest.raises(ConfigError, match=r"suite.*own"):
        load_config("evaluate", ["run_dir=unused"])


def test_an_unknown_set_in_only_lists_the_sets() -> None:
    with pytest.raises(ConfigError, match=r"suite.only=ward: no such set; choose among medical, general"):
        composed("demo", "suite.only=[ward]")


def test_an_unknown_normalizer_lists_the_choices() -> None:
    with pytest.raises(
        ConfigError,
        match="suite.normalizer=whisper: unknown; choose one of leaderboard-2026-08, leaderboard-2026-11, qasr-1",
    ):
        composed("own", "suite.normalizer=whisper")


def test_a_suite_without_sets_is_refused() -> None:
    with pytest.raises(ConfigError, match="suite.sets is empty; use suite=own suite.manifest=FILE"):
        SuiteConfig(name="none")


def test_rows_without_text_are_refused_with_the_first(tmp_path: Path) -> None:
    manifest = write_rows(tmp_path, [{"id": "a"}, {"id": "b", "text": None}])
    with pytest.raises(DataError) as error:
        load_suite(one_set(manifest))
    assert str(error.value) == (
        f"set 's': 1 of 2 rows state no text, the first is 'b' ({manifest}:2); an evaluation needs a reference in every row "
        '("" where there is no speech)'
    )


def test_rows_of_no_speech_have_the_empty_text_and_pass(tmp_path: Path) -> None:
    [loaded] = load_suite(one_set(write_rows(tmp_path, [{"id": "a", "text": ""}])))
    assert loaded.utterances[0].text == ""


def test_an_empty_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"m.jsonl: holds no rows"):
        load_suite(one_set(write_rows(tmp_path, [])))


def test_a_set_that_cannot_be_loaded_says_how_to_get_it(tmp_path: Path) -> None:
    config = one_set(tmp_path / "gone.jsonl", access="log in and accept the terms.")
    with pytest.raises(DataError, match=r"gone.jsonl: no such file.*to get set 's': log in and accept the terms\.\)"):
        load_suite(config)
