"""Owns the frame of the small pages that a job leaves beside its figures: one HTML file without scripts or network.

Input: a title, a body in which every text is escaped, further style. Output: HTML. The report of an evaluation has its own frame.
"""

import html

from qasr_train.pages.table import STACKED_STYLE

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"  # nothing is loaded
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse } svg { max-width: 100%; height: auto }
.wide { overflow-x: auto } figure.wide { margin: 1rem 0 } h1, li { overflow-wrap: anywhere }
@media (max-width: 640px) { figure.wide svg { min-width: 520px } }
td, th { padding: .15rem .8rem; text-align: right; border-bottom: 1px solid #ddd }
"""


def wide_figure(svg: str) -> str:
    """A picture that scrolls on a narrow screen, where nobody could read it made as small as that."""
    return f'<figure class="wide">{svg}</figure>'


def html_page(title: str, body: str, *, style: str = "", media: str | None = None) -> str:
    """The whole page.

    Args:
        style: added to the rules that all pages share.
        media: where recordings may be played from, as a Content-Security-Policy says it ("file:"). None: from nowhere.
    """
    policy = _POLICY if media is None else f"{_POLICY}; media-src {media}"
    return (
        '<!doctype html>\n<html lang="en"><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f"<title>{html.escape(title)}</title><style>{_STYLE}{style}{STACKED_STYLE}</style>\n{body}\n</html>\n"
    )
