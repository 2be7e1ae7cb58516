"""Terms of a list: how the file is read, and what is found in a text."""

import importlib.metadata

import pytest

from qasr_train.errors import ConfigError, DataError
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import TermFinder, read_terms


def _finder(*terms, normalizer="qasr-1", language="English"):
    return TermFinder([(term, term) for term in terms], get_normalizer(normalizer), language)


def test_a_term_file_has_comments_blank_lines_and_other_spellings(tmp_path):
    path = tmp_path / "terms.txt"
    path.write_text("# drugs\n\nmetformin\n heart attack \tmyocardial infarction\tMI\n", encoding="utf-8-sig")
    terms = read_terms(path)
    assert terms.spellings == {
        "metformin": "metformin",
        "heart attack": "heart attack",
        "myocardial infarction": "heart attack",
        "MI": "heart attack",
    }
    assert terms.num_terms == 2


def test_mistakes_in_a_term_file_are_one_sentence(tmp_path):
    with pytest.raises(ConfigError, match=r"suite.terms=.*none.txt: cannot be read \(No such file or directory\)"):
        read_terms(tmp_path / "none.txt", "suite.terms")
    path = tmp_path / "t.txt"
    path.write_text("# only a comment\n")
    with pytest.raises(DataError, match="t.txt: holds no term; write a term a line"):
        read_terms(path)
    path.write_text("a\tx\nb\tx\n")
    with pytest.raises(DataError, match=r"t.txt:2: 'x' stands for 'b' and, further up, for 'a'"):
        read_terms(path)
    path.write_bytes(b"caf\xe9\n")
    with pytest.raises(DataError, match=r"t.txt: is not UTF-8 text \(byte 3\)"):
        read_terms(path)


def test_the_longest_term_is_found_at_each_place_and_none_overlap():
    finder = _finder("heart", "heart attack", "attack of")
    hits = [(hit.term, hit.start, hit.stop) for hit in finder.find("the heart attack of the heart")]
    assert hits == [("heart attack", 1, 3), ("heart", 5, 6)]
    assert finder.present("heart attack") == {"heart", "heart attack"}
    assert finder.find("hearts") == []


def test_terms_are_normalised_as_the_texts_are():
    assert [hit.term for hit in _finder("Colour-Blind", language="English").find("a color blind man")] == [
        "Colour-Blind"
    ]
    assert [hit.start for hit in _finder("天气", language="Chinese").find("今天 天气 好")] == [2]


def test_compounds_are_found_joined_only_where_the_normaliser_merges_them():
    assert [hit.term for hit in _finder("white paper", normalizer="leaderboard-2026-08").find("a whitepaper")] == [
        "white paper"
    ]
    assert _finder("white paper").find("a whitepaper") == []


def test_a_list_of_a_package_that_is_missing_says_how_to_get_it(monkeypatch):
    def missing(name):
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "distribution", missing)
    with pytest.raises(ConfigError, match=r"^suite.terms=medical: .* medwer, which is not installed; pip install"):
        read_terms("medical", "suite.terms")
    with pytest.raises(ConfigError, match=r"terms=medica: cannot be read"):
        read_terms("medica")


def test_a_list_of_a_package_is_read_where_it_lies_and_a_file_of_its_name_is_a_file(tmp_path, monkeypatch):
    class Package:
        version = "7.0"

        def locate_file(self, file):
            assert file == "medwer/data/medical_terms.txt"
            return tmp_path / "list.txt"

    monkeypatch.setattr(importlib.metadata, "distribution", {"medwer": Package()}.get)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list.txt").write_text("# a notice\ninsulin glargine\n", encoding="utf-8")
    (tmp_path / "medical").write_text("aspirin\n", encoding="utf-8")
    assert (read_terms("medical").path, list(read_terms("medical").spellings)) == (
        "medical (medwer 7.0)",
        ["insulin glargine"],
    )
    assert list(read_terms("./medical").spellings) == ["aspirin"]
