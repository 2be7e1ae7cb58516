"""The audit, on corpora of a few sentences whose faults a person sees."""

import json
from pathlib import Path
from typing import Any

import pytest

from qasr_train.config.command_line import run_command_line
from qasr_train.corpus.audit import audit_corpus, find_shared_texts
from qasr_train.corpus.audit_page import audit_page
from qasr_train.corpus.summary import Part, Summary
from qasr_train.jobs.recipes import PROJECT
from qasr_train.manifest import Utterance
from qasr_train.sources.intake import Intake
from tests.helpers import tone, utterance, write_wav

LONG = "the patient was admitted to the ward last night with chest pain"


def corpus(*texts: str, **fields: Any) -> list[Utterance]:
    return [utterance(id=f"u{i}", text=text, duration_s=2.0, **fields) for i, text in enumerate(texts)]


@pytest.mark.parametrize(
    ("language", "text", "wrong"),
    [
        ("English", "naïve café, 5 % – fine", []),
        ("English", "с\u200bafe", ["с", "\u200b"]),  # the first letter is Cyrillic, then a space of no width
        ("Russian", "я пришел в cafe", ["c", "a", "f", "e"]),
        ("Arabic", "نعم 5", []),
        ("Chinese", "我在用 iPhone。", []),
        ("Hindi", "नमस्ते\u200d", []),
        ("Persian", "می\u200cخواهم", []),
        ("German", "schl\ufffdssel", ["\ufffd"]),  # a wrong encoding
        (None, "ня hello 你", []),  # nothing is known of an unknown language
    ],
)
def test_characters_that_do_not_belong_to_the_language(language: str | None, text: str, wrong: list[str]) -> None:
    audit = audit_corpus(corpus(text, language=language))
    assert sorted(one.character for one in audit.foreign) == sorted(wrong)
    assert all(one.ids == ["u0"] and one.count == 1 for one in audit.foreign)


def test_far_too_much_text_for_the_length_is_listed_and_the_usual_is_not() -> None:
    usual = ["a" * (28 + i % 5) for i in range(40)]  # 14 to 16 characters a second
    audit = audit_corpus(corpus(*usual, "a" * 120, "a"))
    assert [(one.id, one.characters_per_s) for one in audit.outliers] == [("u41", 0.5), ("u40", 60.0)]
    assert audit.outliers[0].median_characters_per_s == pytest.approx(15.0, rel=0.04)
    assert "2 clips with far too much or too little text for their length (e.g. u41, u40)" in audit.remarks()
    assert audit_corpus(corpus(*usual[:20], "a" * 120)).outliers == []  # too few to judge


def test_of_several_right_spellings_the_first_is_looked_at() -> None:
    audit = audit_corpus(corpus("the { colour / цвет / @ } of it"))
    assert not audit.foreign and audit.rates["English"] == [len("the colour of it") / 2.0]


def test_a_test_sentence_inside_a_longer_training_sentence_is_a_leak() -> None:
    train = corpus(f"and {LONG} again", "something else entirely that nobody said in the other one", split="train")
    test = [
        utterance(id="same", text=LONG.title() + ".", split="test"),
        utterance(id="part", text=f"we were told on monday that {' '.join(LONG.split()[:9])}", split="test"),
        utterance(id="new", text="this one here was never said by anyone at all before", split="test"),
        utterance(id="short", text="chest pain", split="test"),  # equal short texts are counted elsewhere
    ]
    audit = audit_corpus([*train, *test, utterance(id="x", text="w", split="test")])
    [shared] = audit.shared_texts
    assert (shared.of, shared.within, shared.num_long) == ("train", "test", 2)  # the smaller one is looked up
    [shared] = find_shared_texts([*train * 3, *test])
    assert (shared.of, shared.within, shared.num_long) == ("test", "train", 3)
    # "part": 6 words of its own, then the first 9 of LONG: 9 of 15 words are known.
    assert shared.covered == [("same", 1.0), ("part", pytest.approx(9 / 15))]


def test_chinese_is_compared_by_characters() -> None:
    text = "今天早上病人因为胸痛入院"
    rows = [utterance(id=s, text=f"{s}{text}", split=s, language="Chinese") for s in ("train", "test")]
    [shared] = find_shared_texts(rows)
    assert len(shared.covered) == 1


def test_the_same_speaker_saying_the_same_again_is_counted() -> None:
    rows = corpus(LONG, LONG + ".", "yes", "yes") + corpus(LONG, speaker="other")
    assert audit_corpus(rows).num_repeats == 1


def test_the_page_escapes_what_the_corpus_holds() -> None:
    rows = corpus(*["a" * 30] * 40, "<script>alert(1)</script>" * 9)
    part = Part(41, 0.1, 1, 0)
    summary = Summary(
        part, {}, {"<b>": part}, 2.0, 2.0, {"2-5 s": 41}, {}, 0, [], 0, 0, [], {}, Intake().record(), [], {}
    )
    page = audit_page(summary, audit_corpus(rows), {}, Path())
    assert "<script>" not in page and "&lt;script&gt;" in page and ">&lt;b&gt;</td>" in page
    assert page.count("<svg") == 2 and "src=" not in page and "<a href=" not in page
    hostile = {"u40": utterance(id='<i>"', audio='"><i>.wav', text="<i>")}
    page = audit_page(summary, audit_corpus(rows), hostile, Path("/data"))
    assert "<i>" not in page and 'src="file:///data/%22%3E%3Ci%3E.wav"' in page


def test_the_page_shows_the_worst_first_and_leads_to_the_clips_of_each_finding() -> None:
    rows = [
        utterance(id="train", text=LONG, split="train", audio="/far/train.wav"),
        utterance(id="test", text=LONG, split="test", audio="cut.wav", start_s=1.5, end_s=4.0),
        utterance(id="odd", text="caf\u0435", split="train", audio="two.wav", channel=1),  # the last letter is Cyrillic
        utterance(id="stored", text="caf\u0435", split="train", audio="arrow://x/0/0"),
    ]
    summary = Summary(
        Part(4, 0.1, 1, 0), {}, {}, 2.0, 2.0, {"2-5 s": 4}, {}, 0, [], 0, 0, [], {}, Intake().record(), [], {}
    )
    page = audit_page(summary, audit_corpus(rows), {one.id: one for one in rows}, Path("/corpus"))
    places = [
        page.index(words) for words in ("<h2>Leaks", "LEAK: 1 of 1", "<h2>Faults", "2 times", "<h2>For the record")
    ]
    assert places == sorted(places)
    leak = page[places[1] : places[2]]
    assert "<summary>1 clip</summary>" in leak and '<a href="file:///corpus/cut.wav#t=1.5,4">test</a>' in leak
    assert '<audio controls preload="none" src="file:///corpus/cut.wav#t=1.5,4">' in leak and LONG in leak
    fault = page[places[2] : places[4]]
    # A browser would play both channels together, so of one alone there is a link and no player.
    assert '<a href="file:///corpus/two.wav">odd</a>' in fault and "<audio" not in fault
    assert "media-src file:" in page and "<script" not in page


def test_prepare_writes_the_page_and_prints_what_to_look_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with open(tmp_path / "raw.jsonl", "w") as out:
        for i in range(24):
            write_wav(tmp_path / f"{i}.wav", tone(1.0, frequency_hz=200 + i))
            text = "He was seen on the ward." if i % 3 else "HE WAS SEEN ON THE WARD"
            row = {"audio": f"{i}.wav", "text": text, "language": "en"}
            out.write(json.dumps(row) + "\n")

    arguments = [f"source.path={tmp_path / 'raw.jsonl'}", f"out={tmp_path / 'out'}", "num_workers=0"]
    assert run_command_line("prepare", arguments, PROJECT) == 0
    printed = capsys.readouterr().out
    assert "English: letter case is mixed (cased 67 %, upper 33 %)" in printed and "audit.html" in printed
    assert "letter case is mixed" in (tmp_path / "out" / "audit.html").read_text()
