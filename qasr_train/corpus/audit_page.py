"""Owns the page of an audit, `audit.html`: one file without network, in which every text of the corpus is escaped.

Input: a `Summary` and an `Audit`, the clips they are of. Output: HTML: findings, the worst first, with the clips of each, then
tables. It holds transcripts and leads to the recordings where they lie, so it stays where they are.
"""

import html
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from qasr_train.corpus.audit import MAX_LISTED, Audit
from qasr_train.corpus.findings import Finding, worst_first
from qasr_train.corpus.summary import Part, Summary
from qasr_train.manifest import Utterance
from qasr_train.pages.html import html_page, wide_figure
from qasr_train.pages.player import clip_uri, link, player
from qasr_train.pages.svg import svg_drawing
from qasr_train.pages.table import html_table

_STYLE = """
td:first-child, th:first-child, td.text { text-align: left } td.text { overflow-wrap: anywhere }
section.leak { border-left: 4px solid #c53030; padding-left: .8rem }
section.fault { border-left: 4px solid #c77700; padding-left: .8rem }
li.clip { margin: .3rem 0 } li.clip audio { height: 2rem; width: 14rem; max-width: 100%; vertical-align: middle }
"""
_MAX_RATE = 40.0
_MIN_CLIPS = 20


def audit_page(summary: Summary, audit: Audit, clips: Mapping[str, Utterance], folder: Path) -> str:
    """The whole page. clips: by id. folder: that paths of recordings count from, where they are not absolute."""
    parts = [("all", summary.total), *summary.splits.items(), *summary.languages.items()]
    sections = [
        "<h1>Audit of a prepared corpus</h1>",
        *_findings([*summary.findings(), *audit.findings()], clips, folder),
        html_table(("", "clips", "hours", "speakers", "no speech"), [_part(name, part) for name, part in parts]),
        "<h2>Durations</h2>" + wide_figure(_durations(summary)),
        "<h2>Speaking rate</h2>" + _rates(audit),
        "<h2>How it is written</h2>" + _styles(audit),
        _outliers(audit),
        _foreign(audit),
        _shared(audit),
    ]
    return html_page("Audit", "\n".join(section for section in sections if section), style=_STYLE, media="file:")


def _findings(findings: Sequence[Finding], clips: Mapping[str, Utterance], folder: Path) -> list[str]:
    """A section for each degree of severity, the worst first."""
    return [
        f'<section class="{severity.name.lower()}"><h2>{severity.meaning}</h2><ul>'
        + "".join(f"<li>{html.escape(one.text)}{_clips(one, clips, folder)}</li>" for one in group)
        + "</ul></section>"
        for severity, group in groupby(worst_first(findings), key=lambda one: one.severity)
    ]


def _clips(finding: Finding, clips: Mapping[str, Utterance], folder: Path) -> str:
    """The clips of a finding, folded up: a link to each, its sound once it is asked for, its transcript."""
    known = [clips[one] for one in finding.ids if one in clips]
    if not known:
        return ""
    total = max(finding.num_clips, len(known))
    told = f"the first {len(known)} of {total:,} clips" if total > len(known) else f"{total} clip{'s' * (total > 1)}"
    drawn = "".join(f'<li class="clip">{_clip(one, folder)}</li>' for one in known)
    return f"<details><summary>{told}</summary><ul>{drawn}</ul></details>"


def _clip(one: Utterance, folder: Path) -> str:
    uri = clip_uri(one.audio, folder, one.start_s, one.end_s)
    # Of a recording of several channels a browser would play all of them together.
    sound = player(uri) if uri is not None and one.channel is None else ""
    return f'{link(uri, one.id)} {sound} <span dir="auto">{html.escape(one.text or "")}</span>'


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
    return wide_figure(drawing.text)


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
