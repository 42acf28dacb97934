"""One self-contained HTML page: pictures inside, curves as SVG, no script, nothing fetched."""

import base64
import io
from collections.abc import Sequence
from html import escape

from PIL import Image

from ..io.text import escape_lines
from .images import Examples

STYLE = """
:root { color-scheme: light dark; --ink: #1c1e21; --soft: #626a73; --line: #d9dde2; --ground: #fbfbfa; --card: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e8e9ea; --soft: #9ba3ac; --line: #363b42; --ground: #16181b; --card: #1e2125; }
}
body { margin: 0 auto; max-width: 1440px; padding: 2.5rem 1.5rem 4rem; background: var(--ground); color: var(--ink);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { font-size: 2.1rem; margin: 0 0 .4rem; } h2 { font-size: 1.25rem; margin: 2.8rem 0 .8rem; }
p.lead { max-width: 46rem; color: var(--soft); margin: 0 0 1.8rem; font-size: 1.05rem; }
.row { display: grid; grid-template-columns: repeat(auto-fit, minmax(260px, 1fr)); gap: 1.2rem; align-items: start; }
figure { margin: 0; background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: .9rem; }
figure.wide { grid-column: 1 / -1; }
figure img, figure svg { width: 100%; display: block; background: #fff; border-radius: 3px; }
figure img { image-rendering: pixelated; }
figcaption { margin-top: .7rem; } figcaption b { display: block; }
figcaption i { display: block; font-family: Cambria, Georgia, serif; }
figcaption span { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; background: var(--card); }
th, td { text-align: right; padding: .5rem .9rem; border-bottom: 1px solid var(--line); }
th:first-child, td:first-child { text-align: left; } td { font-variant-numeric: tabular-nums; }
.caption { color: var(--soft); font-size: .9rem; max-width: 60rem; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 1rem; overflow-x: auto; }
"""
COLOURS = ("#1f6fb2", "#d9662b", "#3a9a5b", "#8e5bb5")


def document(title: str, parts: Sequence[str]) -> str:
    """The whole page."""
    return escape_lines(
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def lead(title: str, text: str) -> str:
    return f'<h1>{escape(title)}</h1>\n<p class="lead">{escape(text)}</p>'


def section(title: str, content: str) -> str:
    return f"<h2>{escape(title)}</h2>\n{content}"


def row(figures: Sequence[str]) -> str:
    """Figures side by side, as many as fit."""
    return '<div class="row">' + "\n".join(figures) + "</div>"


def figure(examples: Examples, title: str, equation: str = "", text: str = "", *, wide: bool = False) -> str:
    """A picture of the examples, with what is said of it."""
    return picture(examples.render(), title, equation, text, wide=wide)


def picture(image: Image.Image, title: str, equation: str = "", text: str = "", *, wide: bool = False) -> str:
    """A picture, with what is said of it."""
    content = io.BytesIO()
    image.save(content, "PNG")
    data = base64.b64encode(content.getvalue()).decode()
    return wrap_figure(
        f'<img alt="{escape(title)}" src="data:image/png;base64,{data}">', title, equation, text, wide=wide
    )


def wrap_figure(content: str, title: str, equation: str = "", text: str = "", *, wide: bool = False) -> str:
    """Any content as a figure."""
    caption = "".join(f"<{tag}>{escape(t)}</{tag}>" for tag, t in (("b", title), ("i", equation), ("span", text)) if t)
    return f"<figure{' class=wide' if wide else ''}>{content}<figcaption>{caption}</figcaption></figure>"


def table(head: Sequence[str], rows: Sequence[Sequence[str]], caption: str) -> str:
    def line(cells: Sequence[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in cells) + "</tr>"

    body = "\n".join([line(head, "th"), *(line(cells, "td") for cells in rows)])
    return f'<div class="scroll"><table>\n{body}\n</table></div>\n<p class="caption">{escape(caption)}</p>'


def code(*lines: str) -> str:
    return "<pre>" + escape("\n".join(lines)) + "</pre>"


def format_duration(seconds: float) -> str:
    """5 s, 1 min 20 s."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
