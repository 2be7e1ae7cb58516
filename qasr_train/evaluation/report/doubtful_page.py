"""Owns the page of `check_transcripts`, `worst.html`: reference and hypothesis side by side, every text of the corpus escaped.

Input: ranked rows. Output: HTML without scripts, which plays recordings from where they lie. It holds transcripts.
"""

import html
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

from qasr_train.evaluation.checked_rows import CheckedRow
from qasr_train.evaluation.scoring.confusions import aligned_pieces
from qasr_train.pages.html import html_page
from qasr_train.pages.player import clip_uri, player
from qasr_train.text.normalize import Normalizer

CAUTION = (
    "A high error rate is a question, not a verdict: a base model that does not know the domain counts the domain's words as "
    "errors, and these rows are the ones worth training on. Listen to the worst rows before setting a limit, and set it high."
)
NO_CHANNELS: Mapping[str, Path] = MappingProxyType({})
_HEADS = '<tr class="heads">{}</tr>'.format(
    "".join(f"<th>{one}</th>" for one in ("", "error", "confidence", "row", "transcript against hypothesis", ""))
)
_STYLE = """
body { max-width: 80rem }
td, th { padding: .3rem .8rem; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd }
td.n { text-align: right; white-space: nowrap } del { background: #fdd; text-decoration: none }
ins { background: #dfd; text-decoration: none }
.caution { background: #fff6d6; padding: .6rem 1rem } .small { color: #666; font-size: 13px } audio { height: 2rem; width: 14rem }
@media (max-width: 640px) {
  table, tbody, tr, td { display: block } tr { border-bottom: 1px solid #ddd; padding: .4rem 0 } tr.heads { display: none }
  td, td.n { border: 0; padding: .1rem 0; overflow-wrap: anywhere } td.n { display: inline-block; padding-right: 1rem }
  td:empty { display: none } td.n::before { content: attr(data-label) " "; color: #666 }
}
"""


def worst_page(
    rows: Sequence[CheckedRow], num_rows: int, normalizer: Normalizer, channels: Mapping[str, Path] = NO_CHANNELS
) -> str:
    """The whole page: `rows`, worst first, of `num_rows` in all.

    channels: id of a row that names a channel -> a file that holds nothing but what was transcribed, as a browser plays all.
    """
    drawn = "\n".join(_row(number, row, normalizer, channels) for number, row in enumerate(rows, start=1))
    body = f"""<h1>Transcripts to look at</h1>
<p class="caution">{html.escape(CAUTION)}</p>
<p>{len(rows)} of {num_rows} rows, the worst first; all stand in ranked.jsonl. Normalised words: <del>in the transcript only</del>
<ins>in the hypothesis only</ins>. A high confidence beside a high error rate speaks against the transcript.</p>
<table>{_HEADS}
{drawn}
</table>"""
    return html_page("Transcripts to look at", body, style=_STYLE, media="file:")


def _row(number: int, row: CheckedRow, normalizer: Normalizer, channels: Mapping[str, Path]) -> str:
    percent = "unreadable" if row.percent is None else f"{row.percent:.0f} % {row.metric.upper()}"
    confidence = "" if row.prediction.confidence is None else f"{row.prediction.confidence:.2f}"
    utterance = row.utterance
    notes = [utterance.language or "unknown language", *row.remarks, *([row.rejected] if row.rejected else [])]
    return (
        f'<tr><td class="n">{number}</td><td class="n" data-label="error">{percent}</td>'
        f'<td class="n" data-label="confidence">{confidence}</td>'
        f'<td>{_text(utterance.id)}<div class="small">{_text(utterance.origin)}<br>{_text("; ".join(notes))}</div></td>'
        f'<td dir="auto">{_compared(row, normalizer)}<div class="small">{_text(row.prediction.text or "")}<br>'
        f"{_text(row.prediction.pred_text)}</div></td><td>{_player(row, channels)}</td></tr>"
    )


def _compared(row: CheckedRow, normalizer: Normalizer) -> str:
    pieces = aligned_pieces(row.score, normalizer)
    if pieces is None:
        return "(too long to be drawn)"
    drawn = []
    separator = "" if row.metric == "cer" else " "
    for is_same, run in groupby(pieces, key=lambda piece: isinstance(piece, str)):
        if is_same:
            drawn += [_text(piece) for piece in run if isinstance(piece, str)]
            continue
        # What differs stands together: word by word nobody could read either side.
        for tag, words in zip(("del", "ins"), zip(*run, strict=True), strict=True):
            text = separator.join(word for word in words if word)
            drawn += [f"<{tag}>{_text(text)}</{tag}>"] if text else []
    return " ".join(drawn)


def _player(row: CheckedRow, channels: Mapping[str, Path]) -> str:
    """The recording where it lies, the part of it that the row is; nothing where its channel could not be taken out."""
    utterance = row.utterance
    if utterance.channel is not None:
        return player(channels[utterance.id].absolute().as_uri()) if utterance.id in channels else ""
    uri = clip_uri(utterance.audio, Path(), utterance.start_s, utterance.end_s)
    return "" if uri is None else player(uri)


def _text(text: str) -> str:
    return html.escape(text, quote=True)
