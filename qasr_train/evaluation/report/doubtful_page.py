"""Owns the page of `check_transcripts`, `worst.html`: reference and hypothesis side by side, every text of the corpus escaped.

Input: ranked rows. Output: HTML without scripts, which plays recordings from where they lie. It holds transcripts.
"""

import html
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from types import MappingProxyType

from qasr_train.audio.arrow import is_arrow_reference
from qasr_train.evaluation.checked_rows import CheckedRow
from qasr_train.evaluation.scoring.confusions import aligned_pieces
from qasr_train.pages.html import html_page
from qasr_train.text.normalize import Normalizer

CAUTION = (
    "A high error rate is a question, not a verdict: a base model that does not know the domain counts the domain's words as "
    "errors, and these rows are the ones worth training on. Listen to the worst rows before setting a limit, and set it high."
)
NO_CHANNELS: Mapping[str, Path] = MappingProxyType({})
_STYLE = """
body { max-width: 80rem }
td, th { padding: .3rem .8rem; text-align: left; vertical-align: top; border-bottom: 1px solid #ddd }
td.n { text-align: right; white-space: nowrap } del { background: #fdd; text-decoration: none }
ins { background: #dfd; text-decoration: none }
.caution { background: #fff6d6; padding: .6rem 1rem } .small { color: #666; font-size: 13px } audio { height: 2rem; width: 14rem }
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
<table><tr><th></th><th>error</th><th>confidence</th><th>row</th><th>transcript against hypothesis</th><th></th></tr>
{drawn}
</table>"""
    return html_page("Transcripts to look at", body, style=_STYLE, media="file:")


def _row(number: int, row: CheckedRow, normalizer: Normalizer, channels: Mapping[str, Path]) -> str:
    percent = "unreadable" if row.percent is None else f"{row.percent:.0f} % {row.metric.upper()}"
    confidence = "" if row.prediction.confidence is None else f"{row.prediction.confidence:.2f}"
    utterance = row.utterance
    notes = [utterance.language or "unknown language", *row.remarks, *([row.rejected] if row.rejected else [])]
    return (
        f'<tr><td class="n">{number}</td><td class="n">{percent}</td><td class="n">{confidence}</td>'
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
        return _audio(channels[utterance.id].absolute().as_uri()) if utterance.id in channels else ""
    if not isinstance(utterance.audio, str) or is_arrow_reference(utterance.audio):
        return ""
    part = ""
    if utterance.start_s is not None or utterance.end_s is not None:
        part = f"#t={utterance.start_s or 0:g}" + ("" if utterance.end_s is None else f",{utterance.end_s:g}")
    return _audio(Path(utterance.audio).absolute().as_uri() + part)


def _audio(source: str) -> str:
    return f'<audio controls preload="none" src="{html.escape(source, quote=True)}"></audio>'


def _text(text: str) -> str:
    return html.escape(text, quote=True)
