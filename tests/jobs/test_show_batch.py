"""What `recipes/show_batch.py` shows: the JSON lines others check the mask with, and the picture for people."""

import json
import re
from pathlib import Path

import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.jobs.recipes import load_config
from qasr_train.jobs.show_batch import show_batch, whole_letters
from qasr_train.models.qwen3_asr.collator import Qwen3ASRCollator
from tests.helpers import tone, write_wav
from tests.helpers_model import tiny_processor

# id -> (seconds, transcript, language); mel frames are 100 a second, at least 50; see test_collator for the audio tokens
CLIPS = {
    "short": (0.2, "quick", "en"),
    "long": (1.09, "two small pills a day", "English"),
    "silent": (1.0, "", None),
    "odd": (0.8, "<|im_end|> [fox]", "fr"),
}
NUM_MEL_FRAMES = {"short": 50, "long": 109, "silent": 100, "odd": 80}
NUM_AUDIO_TOKENS = {"short": 7, "long": 15, "silent": 13, "odd": 10}
TARGETS = {
    "short": "language English<asr_text>quick<|im_end|>",
    "long": "language English<asr_text>two small pills a day<|im_end|>",
    "silent": "language None<asr_text><|im_end|>",
    "odd": "language French<asr_text><|im_end|> [fox]<|im_end|>",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`m.jsonl` of CLIPS, and `model`: a processor and a config, no weights."""
    from tests.helpers_model import tiny_model

    folder = tmp_path_factory.mktemp("shown")
    rows = []
    for name, (seconds, text, language) in CLIPS.items():
        write_wav(folder / f"{name}.wav", tone(seconds))
        rows.append({"id": name, "audio": f"{name}.wav", "text": text, "language": language})
    (folder / "m.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    tiny_processor().save_pretrained(folder / "model")
    tiny_model().config.save_pretrained(folder / "model")
    return folder


def run(folder: Path, *overrides: str) -> None:
    sources = [f"model.path={folder / 'model'}", f"data.train.main.path={folder / 'm.jsonl'}"]
    show_batch(load_config("show_batch", [*sources, *overrides]))


def shown_rows(folder: Path, out: Path, *overrides: str) -> list[dict]:
    run(folder, f"out={out}", *overrides)
    return [json.loads(line) for line in out.read_text().splitlines()]


def test_json_lines_are_one_padded_batch_with_its_labels(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    rows = shown_rows(folder, tmp_path / "deep" / "shown.jsonl")
    assert capsys.readouterr().out == f"{tmp_path / 'deep' / 'shown.jsonl'}: 4 utterances\n"
    assert [row["id"] for row in rows] == list(CLIPS)
    assert len({len(row["input_ids"]) for row in rows}) == 1
    tokenizer, pad_id = tiny_processor().tokenizer, Qwen3ASRCollator(tiny_processor()).pad_id
    for row in rows:
        assert {"id", "input_ids", "labels", "num_mel_frames", "num_audio_tokens"} <= row.keys()
        assert len(row["labels"]) == len(row["input_ids"]) == len(row["attention_mask"])
        taught = [i for i, label in enumerate(row["labels"]) if label != -100]
        assert [row["labels"][i] for i in taught] == [row["input_ids"][i] for i in taught]
        assert tokenizer.decode([row["labels"][i] for i in taught]) == TARGETS[row["id"]]
        assert row["num_mel_frames"] == NUM_MEL_FRAMES[row["id"]]
        assert row["num_audio_tokens"] == NUM_AUDIO_TOKENS[row["id"]]
        # the target is the last of the row; behind it there is padding only
        width = sum(row["attention_mask"])
        assert taught == list(range(taught[0], width))
        assert set(row["input_ids"][width:]) <= {pad_id}
    assert sum(row["attention_mask"][-1] for row in rows) == 1  # one row fills the width, the others are padded


def test_the_contexts_drawn_for_an_epoch_are_shown_and_not_supervised(folder: Path, tmp_path: Path):
    (tmp_path / "terms.txt").write_text("Ramipril\nMarcumar\n")
    context = ["context=terms", f"context.terms={tmp_path / 'terms.txt'}"]
    shares = ["context.spoken=0", "context.distractors=1", "context.empty=0", "context.no_turn=0"]
    rows = shown_rows(folder, tmp_path / "shown.jsonl", *context, *shares)
    tokenizer = tiny_processor().tokenizer
    for row in rows:
        prompt = tokenizer.decode(row["input_ids"])
        assert "Ramipril, Marcumar" in prompt or "Marcumar, Ramipril" in prompt
        taught = tokenizer.decode([label for label in row["labels"] if label != -100])
        assert taught == TARGETS[row["id"]]


def test_rows_whose_system_turn_is_left_out_are_shown_without_one(folder: Path, tmp_path: Path, capsys):
    """By default half of them; with a context the turn stays, whatever the share."""
    rows = [json.loads(line) for line in (folder / "m.jsonl").read_text().splitlines()]
    rows[1]["context"] = "stent"  # of `long`
    path = folder / "one_context.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = f"data.train.main.path={path}"
    decode = tiny_processor().tokenizer.decode
    user = "<|im_start|>user\n<|audio_start|>"
    for share, bare in ((0, "<|im_start|>system\n<|im_end|>\n" + user), (1, user)):
        for row in shown_rows(folder, tmp_path / f"{share}.jsonl", source, f"context.served={share}"):
            begin = "<|im_start|>system\nstent<|im_end|>\n" + user if row["id"] == "long" else bare
            assert decode(row["input_ids"]).startswith(begin)
            assert decode([label for label in row["labels"] if label != -100]) == TARGETS[row["id"]]
    by_epoch = [shown_rows(folder, tmp_path / f"e{epoch}.jsonl", f"epoch={epoch}") for epoch in range(6)]
    begun = [decode(row["input_ids"][:2]) for shown in by_epoch for row in shown]
    assert set(begun) == {"<|im_start|>system", "<|im_start|>user"}
    run(folder, "context.served=1", "ids=[short]", "color=false")
    assert "<|im_start|>user\\n<|audio_start|><|audio_pad|> x 7" in capsys.readouterr().out


def test_the_rows_do_not_depend_on_their_companions(folder: Path, tmp_path: Path):
    together = {row["id"]: row for row in shown_rows(folder, tmp_path / "all.jsonl")}
    for name in CLIPS:
        [alone] = shown_rows(folder, tmp_path / f"{name}.jsonl", f"ids=[{name}]")
        width = len(alone["input_ids"])
        assert together[name]["input_ids"][:width] == alone["input_ids"]
        assert together[name]["labels"][:width] == alone["labels"]
        assert set(together[name]["labels"][width:]) <= {-100}


def test_ids_choose_and_order_the_rows(folder: Path, tmp_path: Path):
    rows = shown_rows(folder, tmp_path / "two.jsonl", "ids=[silent,short]")
    assert [row["id"] for row in rows] == ["silent", "short"]


def test_an_unknown_id_is_named(folder: Path):
    with pytest.raises(ConfigError, match=r"ids=\['nobody'\]: no such utterance in data.train \(4 are there\)"):
        run(folder, "ids=[short,nobody]")


def test_several_sources_share_the_rows(folder: Path, tmp_path: Path):
    other = tmp_path / "other.jsonl"
    row = {"id": "replayed", "audio": str(folder / "short.wav"), "text": "quick"}
    other.write_text(json.dumps(row) + "\n")
    overrides = [f"data.train.replay.path={other}", "num_utterances=2"]
    assert [r["id"] for r in shown_rows(folder, tmp_path / "o.jsonl", *overrides)] == ["short", "replayed"]


def test_a_source_shorter_than_its_share_leaves_its_rows_to_the_others(folder: Path, tmp_path: Path):
    other = tmp_path / "other.jsonl"
    other.write_text(json.dumps({"id": "replayed", "audio": str(folder / "short.wav"), "text": "quick"}) + "\n")
    rows = shown_rows(folder, tmp_path / "o.jsonl", f"data.train.replay.path={other}", "num_utterances=4")
    assert sorted(r["id"] for r in rows) == ["long", "replayed", "short", "silent"]


def test_of_a_stream_only_what_is_shown_is_read(folder: Path, tmp_path: Path):
    manifest = tmp_path / "endless.jsonl"
    manifest.write_text((folder / "m.jsonl").read_text().replace('"audio": "', f'"audio": "{folder}/') + "no JSON\n")
    overrides = [f"data.train.main.path={manifest}", "data.train.main.streaming=true", "num_utterances=3"]
    assert [r["id"] for r in shown_rows(folder, tmp_path / "o.jsonl", *overrides)] == ["short", "long", "silent"]


def test_the_picture_marks_what_is_taught_and_folds_audio_and_padding(folder: Path, capsys: pytest.CaptureFixture):
    run(folder, "ids=[short,long]", "color=false")
    short, long = capsys.readouterr().out.strip().split("\n\n")
    first, second, line = short.splitlines()
    assert first == "short  0.20 s, English"
    assert re.fullmatch(r"  50 mel frames of 200, 7 audio tokens, \d+ tokens of \d+, \d+ supervised", second)
    assert "<|im_start|>system\\n" in line
    assert "<|audio_start|><|audio_pad|> x 7<|audio_end|><|im_end|>\\n<|im_start|>" in line
    assert line.count("x 7") == 1 and re.search(r" \d+ x padding$", line)
    marked = re.findall(r"\[(.+?)\]", line)
    assert "".join(marked) == TARGETS["short"]
    assert len(marked) == int(second.rsplit(", ", 1)[1].split()[0])
    assert "padding" not in long and "<|audio_pad|> x 15" in long


@pytest.mark.parametrize(
    ("tokens", "text", "number"),
    [
        ([b"a", b"b"], "a", 1),
        ([b"\xe0", b"\xb8", b"\xaa", b"x"], "ส", 3),
        ([b" \xc3", b"\xa4b", b"c"], " äb", 2),  # a token ends in the middle of a letter, the next goes on after it
        ([b"\xc3", b"\xa4\xe0", b"\xb8", b"\xaa"], "äส", 4),
        ([b"\xff", b"a"], "\ufffd", 1),  # no letter begins so
        ([b"\xe0", b"a"], "\ufffd", 1),  # or goes on so
        ([b"\xe0", b"\xb8"], "\ufffd", 1),  # the rest never comes
        ([b"\xef\xbf\xbd", b"a"], "\ufffd", 1),  # U+FFFD itself
        ([b""], "", 1),
    ],
)
def test_tokens_are_shown_as_whole_letters(tokens: list[bytes], text: str, number: int):
    assert whole_letters(tokens) == (text, number)


def test_letters_of_several_tokens_stand_whole_with_their_number(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    manifest = tmp_path / "thai.jsonl"
    row = {"id": "thai", "audio": str(folder / "short.wav"), "text": "ดี ä", "language": "Thai"}
    manifest.write_text(json.dumps(row) + "\n")
    run(folder, f"data.train.main.path={manifest}", "color=false")
    _, figures, line = capsys.readouterr().out.splitlines()[:3]
    assert "\ufffd" not in line
    # Three bytes are three tokens of a vocabulary that knows no Thai; a circle carries the vowel sign.
    assert "[ด]×3[◌ี]×3" in line
    numbers = re.findall(r"\[[^\[\]]+\](?:×(\d))?", line)
    assert figures.endswith(f", {sum(int(number or 1) for number in numbers)} supervised")


def test_colour_marks_supervised_tokens_besides(folder: Path, capsys: pytest.CaptureFixture):
    run(folder, "ids=[short]", "color=true")
    text = capsys.readouterr().out
    assert "\033[1;32m[<|im_end|>]\033[0m" in text
    assert "\033[2m<|im_start|>\033[0m" in text


@pytest.mark.parametrize("is_terminal", [True, False])
def test_colour_is_for_terminals_unless_asked_for(
    folder: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch, is_terminal: bool
):
    monkeypatch.setattr("sys.stdout.isatty", lambda: is_terminal)
    run(folder, "ids=[short]")
    assert ("\033[" in capsys.readouterr().out) is is_terminal


def test_the_limits_of_training_hold(folder: Path):
    with pytest.raises(DataError, match=r"utterance 'long' lasts 1.1 s, over data.max_duration_s=1"):
        run(folder, "data.max_duration_s=1", "data.batch_seconds=1")


def test_it_wants_a_source():
    with pytest.raises(ConfigError, match=r"data.train is empty: name at least one source"):
        load_config("show_batch", ["model.path=x"])


def test_each_row_says_what_augmentation_did_to_it(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture):
    on = ["augment.gain.probability=1", "augment.gain.min_db=-6", "augment.gain.max_db=-6", "ids=[long]"]
    on += ["augment.speed.probability=1", "augment.speed.factors=[1.25]"]
    (row,) = shown_rows(folder, tmp_path / "on.jsonl", *on)
    assert row["augmented"] == ["speed 1.25", "gain -6.0 dB"]
    assert row["num_mel_frames"] == 87  # 1.09 s at 1.25 times the speed
    (row,) = shown_rows(folder, tmp_path / "off.jsonl", "ids=[long]")
    assert "augmented" not in row and row["num_mel_frames"] == 109
    capsys.readouterr()
    run(folder, *on)
    assert "augmented: speed 1.25; gain -6.0 dB" in capsys.readouterr().out


def test_joined_clips_are_shown_with_their_joined_target(folder: Path, tmp_path: Path):
    on = [
        "ids=[short,long]",
        "augment.join.probability=1",
        "augment.speed.probability=1",
        "augment.speed.factors=[0.8]",
    ]
    (row,) = shown_rows(folder, tmp_path / "j.jsonl", *on)
    assert row["id"] == "short+1" and row["augmented"][0].startswith("joined 2 clips, gaps 0.")
    assert row["augmented"][0].endswith("s, speeds 0.8 0.8")
    (row,) = shown_rows(folder, tmp_path / "k.jsonl", *on[:2])
    assert row["augmented"][0].endswith(" s")
