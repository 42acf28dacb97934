"""The pages of the studio, from the templates beside this; every value that is shown in one is escaped."""

from functools import cache
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined

from ..escape import escape_text
from ..io.text import format_duration, format_number

SECTIONS = (("Runs", "/runs"), ("New run", "/new"), ("Explore", "/explore"), ("Lecture", "/lecture/"))
"""the parts of the studio, in the order of the menu"""


@cache
def environment() -> Environment:
    """The templates, compiled once."""
    templates = Environment(loader=PackageLoader("ganvas.studio"), autoescape=True, undefined=StrictUndefined)
    templates.filters["duration"] = format_duration
    templates.filters["number"] = format_number
    templates.filters["shown"] = escape_text  # others' names may hold what turns the text around
    return templates


def render_page(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """A page of the studio, its menu around it."""
    values |= {"sections": SECTIONS, "path": request.url.path}
    text = environment().get_template(template).render(values)
    return HTMLResponse(text.encode("utf-8", "replace"), status)  # others' JSON may hold halves of characters
