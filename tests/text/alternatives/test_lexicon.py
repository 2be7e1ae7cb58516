import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.text.alternatives.lexicon import read_spellings


def _lexicon(tmp_path, text):
    (tmp_path / "spellings.txt").write_text(text, encoding="utf-8")
    return read_spellings(tmp_path / "spellings.txt")


def test_groups_hold_in_every_language_or_in_that_of_their_heading(tmp_path):
    lexicon = _lexicon(tmp_path, "# ours\ne-mail\temail\n\n[Hindi]\nहूँ\tहूं\n[en]\ngrey\tgray\tgrey\n")
    assert lexicon.num_groups == 3
    assert lexicon.of_language("Hindi") == [("e-mail", "email"), ("हूँ", "हूं")]
    assert lexicon.of_language("English") == [("e-mail", "email"), ("grey", "gray")]
    assert lexicon.of_language(None) == lexicon.of_language("French") == [("e-mail", "email")]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\tb\nlonely\n", r"spellings\.txt:2: 'lonely' stands alone; write equal spellings in one line"),
        ("a\tb\nc\ta\n", r"spellings\.txt:2: 'a' stands in line 1 too"),
        ("[Klingon]\na\tb\n", r"spellings\.txt:1: unknown language 'Klingon'"),
        ("# nothing\n", "holds no spellings"),
    ],
)
def test_a_mistake_is_named_with_its_line(tmp_path, text, message):
    with pytest.raises(DataError, match=message):
        _lexicon(tmp_path, text)


def test_a_missing_file_is_named_with_its_setting(tmp_path):
    with pytest.raises(ConfigError, match=r"spellings=.*none\.txt: cannot be read .* name a file with equal spellings"):
        read_spellings(tmp_path / "none.txt")
