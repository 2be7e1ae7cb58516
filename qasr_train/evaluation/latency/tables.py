"""Owns the table of streams: how soon the words of each set stand, how many change. Input: a `ScoredRun`. Output: `Table`s."""

from qasr_train.evaluation.latency.figures import Estimate
from qasr_train.evaluation.scoring.metrics import TWO_SIDED
from qasr_train.evaluation.scoring.score import ScoredRun
from qasr_train.pages.table import Table, number

_NOTE = (
    "By a simulated clock: what is heard after so many seconds of audio is shown at that moment, so that all but the last column "
    "are the same on every machine. Delays from the end of a word to the moment from which it stands as it does in the end, of "
    "words that were recognised; a dash where the manifest does not say when its words were said. Changed: of all words ever "
    "shown, those that went again."
)
_HEADERS = ["", "first word s", TWO_SIDED, "mean delay s", TWO_SIDED, "95 % within s", TWO_SIDED]


def stream_tables(run: ScoredRun) -> list[Table]:
    """[] where nothing was heard as it came."""
    scores = run.streaming
    if scores is None:
        return []
    named = scores.sets | ({"all sets, pooled": scores.overall} if len(scores.sets) > 1 else {})
    rows = [
        [
            name,
            *_cells(one.first_word_delay_s),
            *_cells(one.mean_delay_s),
            *_cells(one.p95_delay_s),
            *_cells(one.changed_percent),
            str(one.num_words),
            number(one.compute_s_per_s),
        ]
        for name, one in named.items()
    ]
    headers = [*_HEADERS, "changed %", TWO_SIDED, "words timed", "compute s/s (this machine)"]
    return [Table("Streaming", headers, rows, _NOTE)]


def _cells(one: Estimate | None) -> list[str]:
    if one is None:
        return [number(None), number(None)]
    return [number(one.value), number(None) if one.low is None else f"{one.low:.2f} to {one.high:.2f}"]
