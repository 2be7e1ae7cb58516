"""Medical dictations in English: the domain that the base model does not know and the demo teaches it.

Closed vocabulary: about 75 terms, each in several templates, so that some 250 sentences hold every word often enough.
None of these terms is in the base model's training (tests/scripts/test_demo_corpus.py checks it).
"""

import random

MEDICAL_KINDS: dict[str, list[str]] = {
    "drug": """amoxicillin metformin lisinopril ibuprofen warfarin insulin heparin morphine prednisone atorvastatin
        omeprazole aspirin""".split(),
    "disease": """hypertension diabetes pneumonia asthma fibrillation sepsis anemia migraine bronchitis arthritis
        embolism""".split(),
    "symptom": "nausea dyspnea edema tachycardia vertigo vomiting palpitations fatigue hematuria".split(),
    "organ": "abdomen thorax lung kidney liver femur artery pelvis".split(),
    "finding": "fracture lesion effusion stenosis inflammation hemorrhage".split(),
    "test": "biopsy ultrasound radiograph electrocardiogram endoscopy tomography".split(),
    "degree": "acute chronic mild severe bilateral recurrent".split(),
    "unit": "milligrams micrograms milliliters tablets".split(),
    "count": "two five ten fifty twenty forty".split(),
    "route": "intravenous oral subcutaneous".split(),
    "frequency": ["daily", "twice daily", "hourly", "weekly"],
}

TERM_KINDS = ("drug", "disease", "symptom", "organ", "finding", "test", "route")  # what a clinic's term list would hold

MEDICAL_TEMPLATES = [
    "patient denies {symptom}",
    "patient denies {symptom} and {symptom}",
    "patient presents with {degree} {symptom}",
    "patient presents with {degree} {disease}",
    "diagnosis {degree} {disease}",
    "history of {disease} and {disease}",
    "prescribe {drug} {count} {unit} {frequency}",
    "administer {route} {drug} {count} {unit}",
    "discontinue {drug}",
    "discontinue {drug} because of {symptom}",
    "{test} shows {degree} {finding}",
    "{test} of the {organ} shows {finding}",
    "schedule {test} of the {organ}",
    "{degree} {finding} of the {organ}",
    "increase {drug} to {count} {unit} {frequency}",
]


def hotwords() -> list[str]:
    """The terms a clinic would list, sorted, each once."""
    return sorted({term for kind in TERM_KINDS for term in MEDICAL_KINDS[kind]})


def draw_medical_sentence(rng: random.Random) -> str:
    """One dictation sentence; no term occurs twice in it."""
    words: list[str] = []
    for piece in rng.choice(MEDICAL_TEMPLATES).split():
        if not piece.startswith("{"):
            words.append(piece)
            continue
        words.append(rng.choice([term for term in MEDICAL_KINDS[piece[1:-1]] if term not in words]))
    return " ".join(words)


def draw_medical_sentences(num_sentences: int, rng: random.Random) -> list[str]:
    """`num_sentences` different sentences."""
    sentences: dict[str, None] = {}
    for _ in range(num_sentences * 100):
        sentences[draw_medical_sentence(rng)] = None
        if len(sentences) == num_sentences:
            return list(sentences)
    raise ValueError(f"the medical templates do not give {num_sentences} different sentences: ask for fewer")


def medical_terms() -> list[str]:
    """Every word of the domain once, template words included."""
    phrases = [phrase for phrases in MEDICAL_KINDS.values() for phrase in phrases]
    plain = [word for template in MEDICAL_TEMPLATES for word in template.split() if "{" not in word]
    return sorted({word for phrase in phrases for word in phrase.split()} | set(plain))
