"""Pages of one file each, from the templates beside this: pictures inside, no script, nothing fetched."""

from base64 import b64encode
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

from ..data.unreadable import lift_pixel_limit
from ..io.atomic import atomic_write
from ..io.text import escape_lines, format_duration
from .images import encode_picture

if TYPE_CHECKING:
    from jinja2 import Environment


def write_page(path: Path, template: str, **values: object) -> None:
    """Fill a template with these values, whose text is escaped, and write the page."""
    with atomic_write(path) as temporary:
        temporary.write_text(escape_lines(environment().get_template(template).render(values)), encoding="utf-8")


@cache
def environment() -> "Environment":
    """The templates, each compiled once, and what they can do with values."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(loader=PackageLoader("ganvas.viz"), autoescape=True, undefined=StrictUndefined)
    found.filters["duration"] = format_duration
    found.filters["address"] = picture_address
    return found


def picture_address(picture: Image.Image | str) -> str:
    """A picture as an address that holds all of it; one that is such an address already stays as it is."""
    return picture if isinstance(picture, str) else data_address(encode_picture(picture), "png")


def data_address(content: bytes, kind: str) -> str:
    """The content of an image's file as an address."""
    return f"data:image/{kind};base64,{b64encode(content).decode()}"


def embed_file(path: Path) -> str:
    """A picture's file, .png or .webp, as an address; OSError or SyntaxError where it is missing or damaged."""
    with lift_pixel_limit(), Image.open(path) as picture:
        kind = str(picture.format).lower()
        picture.verify()
    return data_address(path.read_bytes(), kind)
