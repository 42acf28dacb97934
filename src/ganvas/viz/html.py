"""Pages of one file each, from the templates beside this: pictures inside, no script, nothing fetched."""

from base64 import b64encode
from pathlib import Path

from ..io.atomic import atomic_write
from ..io.text import escape_lines, format_duration
from .images import encode_picture


def write_page(path: Path, template: str, **values: object) -> None:
    """Fill a template with these values, whose text is escaped, and write the page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(loader=PackageLoader("ganvas.viz"), autoescape=True, undefined=StrictUndefined)
    environment.filters["duration"] = format_duration
    environment.filters["address"] = lambda x: "data:image/png;base64," + b64encode(encode_picture(x)).decode()
    with atomic_write(path) as temporary:
        temporary.write_text(escape_lines(environment.get_template(template).render(values)), encoding="utf-8")
