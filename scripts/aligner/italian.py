"""Italian sentences, a language the bundled aligner does not know: what adding one by fine-tuning is tried on.

In: a seed.  Out: a plan of `Clip`s, as scripts/demo/clips.py has them of its four languages; which sentences are held out tells
the text itself there too.
"""

import random

from scripts.demo.clips import Clip
from scripts.demo.corpus import is_held_out
from scripts.demo.synthesis import HELD_OUT_TIMBRES, TRAINED_TIMBRES, draw_delivery

LANGUAGE = "Italian"
_WORDS_ALONE = 0.3  # of the sentences that are trained on: words in random order, so that the order tells nothing
_MAX_DRAWS = 10_000


def _phrases(text: str) -> list[str]:
    return [" ".join(phrase.split()) for phrase in text.split(",")]


KINDS = {
    "person": _phrases(
        """mio fratello, tua sorella, la maestra, il nostro vicino, il contadino, la vecchia signora, il giovane, sua madre,
        il padre, il guidatore, la cantante, il fornaio, un bambino, gli studenti, il capitano, la regina, il medico"""
    ),
    "verb": "compra vende vede vuole trova dipinge porta ama nasconde lava apre dimentica cerca disegna pulisce".split(),
    "thing": _phrases(
        """una mela rossa, il pane, del formaggio, una bottiglia verde, la finestra, un piccolo tavolo, la macchina blu,
        il suo libro, una vecchia lettera, il fiore giallo, una camicia bianca, il giardino, una tazza di caffè, la musica,
        il cane nero, una sedia di legno, il quadro, la cucina, una grande scatola, il giornale, latte fresco, la lampada"""
    ),
    "place": _phrases(
        """in città, a casa, vicino al fiume, dietro la casa, sulla spiaggia, nel villaggio, sotto il ponte, alla stazione,
        in riva al lago, nel bosco, accanto alla chiesa, a scuola, sulla montagna"""
    ),
    "time": _phrases(
        """oggi, domani, ieri, ogni mattina, la sera, lunedì, venerdì, domenica, questa settimana, in estate, in inverno,
        sempre, qualche volta, dopo pranzo, prima di cena, di notte"""
    ),
    "adjective": "felice stanco affamato tranquillo ricco freddo caldo occupato allegro furbo arrabbiato pronto".split(),
    "plural": "mele uccelli lettere biglietti cavalli sedie libri finestre macchine bottiglie pietre canzoni".split(),
    "digit": "zero uno due tre quattro cinque sei sette otto nove".split(),
}
TEMPLATES = (
    "{person} {verb} {thing}",
    "{person} {verb} {thing} {place}",
    "{time} {person} {verb} {thing}",
    "{person} è {adjective} {time}",
    "{person} è {adjective} e {adjective}",
    "{digit} {plural} e {digit} {plural}",
    "ci sono {digit} {plural} {place}",
    "dov'è {thing}",
    "per favore porta {digit} {plural} {time}",
    "chiama {digit} {digit} {digit} {digit}",
)


def plan_italian(num_clips: int, seed: int, *, is_trained: bool) -> list[Clip]:
    """Sentences, timbres, rates and pitches that are trained on, or those that never are."""
    rng = random.Random(seed)
    timbres = TRAINED_TIMBRES if is_trained else HELD_OUT_TIMBRES
    clips = []
    for _ in range(num_clips):
        draw = _draw_words if is_trained and rng.random() < _WORDS_ALONE else _draw_sentence
        text = next(text for _ in range(_MAX_DRAWS) if is_held_out(text := draw(rng)) != is_trained)
        clips.append(Clip(text, LANGUAGE, draw_delivery(LANGUAGE, timbres, not is_trained, rng)))
    return clips


def _draw_sentence(rng: random.Random) -> str:
    pieces = rng.choice(TEMPLATES).split()
    return " ".join(rng.choice(KINDS[piece[1:-1]]) if piece.startswith("{") else piece for piece in pieces)


def _draw_words(rng: random.Random) -> str:
    words = [word for phrases in KINDS.values() for phrase in phrases for word in phrase.split()]
    return " ".join(rng.choice(words) for _ in range(rng.choice((1, 2, 3, 4, 5, 7))))
