"""Our figures beside those of other scorers on the same texts: jiwer, NIST sclite, meeteval, voi-oiwer, medwer; as Markdown.

Run: python scripts/bench/second_opinions.py RUN/predictions.jsonl ... [--normalizer qasr-2] [--seed 0]

WER is of saved predictions, normalised by ours first, so that scorers are compared and not rules. Lattices are these references,
in which every third word or so has others that are right beside it: some of them what was heard there, the rest drawn.
Medical terms stand in made-up sentences, normalised by each with its own rules. A scorer that is not installed has a dash.
"""

import argparse
import importlib
import importlib.util
import random
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from qasr_train.evaluation.scoring.score import score_predictions
from qasr_train.evaluation.scoring.word_pairs import word_pairs
from qasr_train.text.normalize import get_normalizer
from qasr_train.text.terms import read_terms
from qasr_train.transcription.predictions import Prediction, load_predictions

Lattice = list[list[str]]  # what is right in each place, the first as written; "" is nothing
Opinion = tuple[int, int] | None  # (errors, reference words); None: not installed, or not made for it
SCORERS = ("ours", "jiwer", "sclite", "meeteval", "voi-oiwer", "medwer")


def main() -> None:
    """Print a table, a row for each kind of figure of each file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("predictions", nargs="+")
    parser.add_argument("--normalizer", default="qasr-2")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    print(f"| errors / words | rows | {' | '.join(SCORERS)} |\n|---|---|{'---|' * len(SCORERS)}")
    for path in arguments.predictions:
        rng, name = random.Random(arguments.seed), Path(path).parent.name
        pairs = normalised_pairs(path, arguments.normalizer)
        _print_row(f"{name}: WER", len(pairs), wer_opinions(pairs))
        for kind, most_words in (("words", 1), ("words and phrases", 2)):
            lattices = [widened(*pair, most_words, rng) for pair in pairs]
            opinions = lattice_opinions(lattices, [heard for _, heard in pairs])
            _print_row(f"{name}: several right {kind}", len(pairs), opinions)
    if _has("medwer"):
        pairs = medical_pairs(500, random.Random(arguments.seed))
        _print_row("made up: medical terms", len(pairs), medical_opinions(pairs, arguments.normalizer))


def _print_row(name: str, num_rows: int, opinions: dict[str, Opinion]) -> None:
    found = [opinions.get(scorer) for scorer in SCORERS]
    cells = ["–" if one is None else f"{one[0]} / {one[1]}" for one in found]
    print(f"| {name} | {num_rows} | {' | '.join(cells)} |", flush=True)


def normalised_pairs(path: str, normalizer: str) -> list[tuple[str, str]]:
    """(reference, hypothesis) of the scored rows by the rules, letters and digits alone: what every scorer takes for words."""
    rows = score_predictions(load_predictions(path).predictions, get_normalizer(normalizer)).rows
    texts = [(row.counts.normalized_reference, row.counts.normalized_hypothesis) for row in rows if row.is_scored]
    plain = [tuple(" ".join(re.sub(r"[^\w\s]", " ", text).split()) for text in pair) for pair in texts]
    return [(reference, hypothesis) for reference, hypothesis in plain if reference]


def wer_opinions(pairs: Sequence[tuple[str, str]]) -> dict[str, Opinion]:
    """Of plain references."""
    return {
        "ours": _ours(pairs),
        "jiwer": _jiwer(pairs) if _has("jiwer") else None,
        "sclite": _sclite(pairs),
        "meeteval": _meeteval(pairs) if _has("meeteval") else None,
        "voi-oiwer": _voi_oiwer([[[word] for word in one.split()] for one, _ in pairs], [heard for _, heard in pairs]),
    }


def lattice_opinions(lattices: Sequence[Lattice], heard: Sequence[str]) -> dict[str, Opinion]:
    """Of references with several right spellings."""
    stated = [
        " ".join(one[0] if len(one) == 1 else f"{{ {' / '.join(text or '@' for text in one)} }}" for one in slots)
        for slots in lattices
    ]
    pairs = list(zip(stated, heard, strict=True))
    return {"ours": _ours(pairs), "sclite": _sclite(pairs), "voi-oiwer": _voi_oiwer(lattices, heard)}


def widened(reference: str, hypothesis: str, most_words: int, rng: random.Random) -> Lattice:
    """The reference with other right texts in every third place or so, half of them what was heard there."""
    slots: Lattice = []
    pairs = list(word_pairs(reference.split(), hypothesis.split(), merges_compounds=False))
    for place, pair in enumerate(pairs):
        if not pair.expected:
            continue
        slots.append([pair.expected])
        if rng.random() < 1 / 3:
            others = [" ".join(one.heard for one in pairs[place : place + rng.randint(1, most_words)] if one.heard)]
            others += [" ".join(rng.choices(reference.split(), k=rng.randint(1, most_words)))]
            chosen = rng.sample(others, rng.randint(1, 2))
            slots[-1] += [text for text in dict.fromkeys(chosen) if text and text != pair.expected]
    return slots


def medical_pairs(number: int, rng: random.Random) -> list[tuple[str, str]]:
    """Made-up sentences of listed terms and plain words, misheard a little."""
    plain = "the patient was given a dose of and then no longer reported with severe after twice daily".split()
    terms = sorted(read_terms("medical").spellings)
    pairs = []
    for _ in range(number):
        said = [rng.choice(terms) if rng.random() < 0.25 else rng.choice(plain) for _ in range(10)]
        words = " ".join(said).split()
        heard = [rng.choice(plain) if rng.random() < 0.1 else word for word in words if rng.random() > 0.05]
        pairs.append((" ".join(words), " ".join(heard)))
    return pairs


def medical_opinions(pairs: Sequence[tuple[str, str]], normalizer: str) -> dict[str, Opinion]:
    """(edits of the sequences of terms, terms spoken), each by its own rules."""
    scored = score_predictions(_rows(pairs, "English"), get_normalizer(normalizer), terms=read_terms("medical"))
    assert scored.entities is not None
    overall = scored.entities.overall
    medwer = importlib.import_module("medwer")
    found = medwer.Scorer().corpus(*map(list, zip(*pairs, strict=True)))
    num_errors = round(found["medical_wer"] * found["med_ref_words"])
    return {"ours": (overall.num_term_errors, overall.num_spoken), "medwer": (num_errors, found["med_ref_words"])}


def _ours(pairs: Sequence[tuple[str, str]]) -> Opinion:
    overall = score_predictions(_rows(pairs, None), get_normalizer("none")).overall
    return sum(overall[name] for name in ("substitutions", "deletions", "insertions")), overall["num_reference_words"]


def _rows(pairs: Sequence[tuple[str, str]], language: str | None) -> list[Prediction]:
    return [Prediction(None, None, None, *pair, id=str(n), set="s", language=language) for n, pair in enumerate(pairs)]


def _jiwer(pairs: Sequence[tuple[str, str]]) -> Opinion:
    found = importlib.import_module("jiwer").process_words(*map(list, zip(*pairs, strict=True)))
    wrong = found.substitutions + found.deletions
    return wrong + found.insertions, wrong + found.hits


def _meeteval(pairs: Sequence[tuple[str, str]]) -> Opinion:
    rate: Callable[[str, str], Any] = importlib.import_module("meeteval.wer.wer.siso").siso_word_error_rate
    found = [rate(*pair) for pair in pairs]
    return sum(one.errors for one in found), sum(one.length for one in found)


def _voi_oiwer(lattices: Sequence[Lattice], heard: Sequence[str]) -> Opinion:
    if not _has("voi_oiwer"):
        return None
    oiwer: Callable[..., Any] = importlib.import_module("voi_oiwer").oiwer
    found = [oiwer(text, slots, "hindi") for slots, text in zip(lattices, heard, strict=True)]
    return sum(sum(one[4]) for one in found), sum(one[5] for one in found)


def _sclite(pairs: Sequence[tuple[str, str]]) -> Opinion:
    if shutil.which("sctk") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        for name, side in (("ref", 0), ("hyp", 1)):
            lines = (f"{pair[side]} (s_{number:05d})\n" for number, pair in enumerate(pairs))
            (Path(folder) / f"{name}.trn").write_text("".join(lines), encoding="utf-8")
        call = "sctk sclite -e utf-8 -i rm -r ref.trn trn -h hyp.trn trn -o dtl stdout".split()
        printed = subprocess.run(call, cwd=folder, capture_output=True, text=True, check=True).stdout
    errors = re.search(r"Percent Total Error\s*=\s*[\d.]+%\s*\(\s*(\d+)\)", printed)
    words = re.search(r"Ref. words\s*=\s*\(\s*(\d+)\)", printed)
    assert errors and words, printed[:500]
    return int(errors[1]), int(words[1])


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


if __name__ == "__main__":
    main()
