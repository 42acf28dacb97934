"""Pages of one file each, from the templates beside this: pictures inside, no script, nothing fetched."""

import base64
from pathlib import Path

from PIL import Image

from ..io.atomic import atomic_write
from ..io.text import escape_lines
from .images import encode_png


def write_page(path: Path, template: str, **values: object) -> None:
    """Fill a template with these values, whose text is escaped, and write the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("ganvas.viz"), autoescape=True, undefined=StrictUndefined)
    environment.filters |= {"address": data_address, "duration": format_duration}
    with atomic_write(path) as temporary:
        page = environment.get_template(template).render(values)
        temporary.write_text(escape_lines(page), encoding="utf-8")


def data_address(picture: Image.Image) -> str:
    """An address that holds the picture itself, as a PNG."""
    return "data:image/png;base64," + base64.b64encode(encode_png(picture)).decode()


def format_duration(seconds: float) -> str:
    """5 s, 1 min 20 s."""
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60:02d} s" if whole >= 60 else f"{whole} s"
