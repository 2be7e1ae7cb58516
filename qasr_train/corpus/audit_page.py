"""Owns the page of an audit, `audit.html`: one file without network, in which every text of the corpus is escaped.

Input: a `Summary` and an `Audit`. Output: HTML. It holds transcripts, so it stays where the recordings are.
"""

import html
from collections.abc import Sequence

from qasr_train.corpus.audit import MAX_LISTED, Audit
from qasr_train.corpus.summary import Part, Summary
from qasr_train.pages.html import html_page
from qasr_train.pages.svg import svg_drawing
from qasr_train.pages.table import html_table

_STYLE = "td:first-child, th:first-child, td.text { text-align: left } li.leak { font-weight: bold }"
_MAX_RATE = 40.0
_MIN_CLIPS = 20


def audit_page(summary: Summary, audit: Audit, remarks: Sequence[str]) -> str:
    """The whole page; `remarks` is everything a person should look at, of both."""
    parts = [("all", summary.total), *summary.splits.items(), *summary.languages.items()]
    found = "".join(f"<li{' class=leak' if one.startswith('LEAK') else ''}>{html.escape(one)}</li>" for one in remarks)
    sections = [
        "<h1>Audit of a prepared corpus</h1>",
        f"<h2>To look at</h2><ul>{found or '<li>nothing</li>'}</ul>",
        html_table(("", "clips", "hours", "speakers", "no speech"), [_part(name, part) for name, part in parts]),
        "<h2>Durations</h2>" + _durations(summary),
        "<h2>Speaking rate</h2>" + _rates(audit),
        "<h2>How it is written</h2>" + _styles(audit),
        _outliers(audit),
        _foreign(audit),
        _shared(audit),
    ]
    return html_page("Audit", "\n".join(section for section in sections if section), style=_STYLE)


def _part(name: str, part: Part) -> list[str]:
    return [name, str(part.num_clips), f"{part.hours:.2f}", str(part.num_speakers), str(part.num_no_speech)]


def _durations(summary: Summary) -> str:
    with svg_drawing(7, 2.8) as drawing:
        drawing.axes.bar(list(summary.durations), list(summary.durations.values()), color="#2b6cb0")
        drawing.axes.set_ylabel("clips")
        drawing.axes.tick_params(axis="x", labelrotation=30)
    return drawing.text


def _rates(audit: Audit) -> str:
    """One curve a language, the most common six with enough clips for one."""
    known = [name for name, rates in audit.rates.items() if len(rates) >= _MIN_CLIPS]
    languages = sorted(known, key=lambda name: -len(audit.rates[name]))[:6]
    if not languages:
        return f"<p>No language has {_MIN_CLIPS} clips of a second or more with a transcript.</p>"
    with svg_drawing(7, 3.2) as drawing:
        for name in languages:
            rates = [min(rate, _MAX_RATE) for rate in audit.rates[name]]
            drawing.axes.hist(rates, bins=40, range=(0, _MAX_RATE), histtype="step", density=True, label=name)
        drawing.axes.set_xlabel(f"characters of transcript per second of audio (over {_MAX_RATE:.0f}: in the last bar)")
        drawing.axes.set_ylabel("share of clips")
        drawing.axes.legend(frameon=False)
    return drawing.text


def _styles(audit: Audit) -> str:
    rows = [[name, style.describe()] for name, style in audit.styles.items()]
    return html_table(("language", "letter case, punctuation, numbers"), rows, cell_class="text")


def _outliers(audit: Audit) -> str:
    if not audit.outliers:
        return ""
    rows = [
        [
            one.id,
            f"{one.characters_per_s:.1f} characters a second (median of {one.language}: {one.median_characters_per_s:.1f})",
            one.text,
        ]
        for one in audit.outliers[:MAX_LISTED]
    ]
    title = (
        "<h2>Too much or too little text for the length</h2><p>Often a wrong cut or the transcript of another clip.</p>"
    )
    return title + html_table(("id", "rate", "transcript"), rows, cell_class="text")


def _foreign(audit: Audit) -> str:
    if not audit.foreign:
        return ""
    rows = [
        [one.language, f"{one.character!r} {one.name}", f"{one.count}", ", ".join(one.ids[:5])]
        for one in audit.foreign[:MAX_LISTED]
    ]
    title = "<h2>Characters outside the script of the language</h2>"
    return title + html_table(("language", "character", "times", "clips"), rows, cell_class="text")


def _shared(audit: Audit) -> str:
    rows = [
        [f"{shared.of} in {shared.within}", utterance_id, f"{100 * share:.0f} %"]
        for shared in audit.shared_texts
        for utterance_id, share in shared.covered[:MAX_LISTED]
    ]
    title = "<h2>Texts of one split that stand in another</h2>"
    return title + html_table(("splits", "clip", "of its words"), rows, cell_class="text") if rows else ""
