import pytest

from qasr_train.errors import DataError
from qasr_train.text.alternatives.notation import first_spelling, has_alternatives, parse_alternatives


@pytest.mark.parametrize(
    ("text", "slots"),
    [
        ("plain text", [("plain text",)]),
        ("the { colour / color } of it", [("the",), ("colour", "color"), ("of it",)]),
        ("{ um / @ } yes", [("um", ""), ("yes",)]),
        ("{ i have / i've } got", [("i have", "i've"), ("got",)]),
        ("a { b / { c / d } e / b } f", [("a",), ("b", "c e", "d e"), ("f",)]),
        ("it is { grey / gray }, no", [("it is",), ("grey", "gray"), (", no",)]),
        ("{ a } b", [("a",), ("b",)]),
        ('[["मैं"], ["हूँ", "हूं"], []]', [("मैं",), ("हूँ", "हूं")]),
        ("[['a'], ['b c', 'bc']]", [("a",), ("b c", "bc")]),
        # What no group is.
        ("an { alone", [("an { alone",)]),
        ("either a / b", [("either a / b",)]),
        ("{a/b}", [("{a/b}",)]),
        ("[[noise]] yes", [("[[noise]] yes",)]),
        ("[[1, 2]]", [("[[1, 2]]",)]),
        ("", [("",)]),
    ],
)
def test_a_transcript_falls_into_slots(text, slots):
    assert parse_alternatives(text) == slots


def test_the_first_spelling_is_what_is_taught():
    assert first_spelling("the { colour / color } { @ / um } of { it / that }") == "the colour of it"
    assert first_spelling('[["a"], ["b", "c"]]') == "a b"
    assert first_spelling("as  it stands") == "as  it stands"


def test_only_a_group_makes_alternatives():
    assert has_alternatives("{ a / b }") and has_alternatives("x { a }") and not has_alternatives("a { b")


def test_a_group_that_is_not_closed_is_refused_with_its_place():
    with pytest.raises(
        DataError, match=r"^m\.jsonl:3: an alternative is opened by `\{` and not closed; write \{ a / b"
    ):
        parse_alternatives("the { colour / color of it", "m.jsonl:3")


def test_hostile_nesting_is_refused():
    with pytest.raises(DataError, match="nested more than 8 deep"):
        parse_alternatives("{ a / " * 500 + "b" + " }" * 500)
    with pytest.raises(DataError, match="more than 1000 texts"):
        parse_alternatives("{ x / " + "{ a / b } " * 11 + "}")
    with pytest.raises(DataError, match="a place has 1001 alternatives"):
        parse_alternatives(f"{{ {' / '.join(map(str, range(1001)))} }}")
    assert parse_alternatives("{ " * 300_000) == [("{ " * 300_000,)]
    assert parse_alternatives("[[" * 100_000) == [("[[" * 100_000,)]
