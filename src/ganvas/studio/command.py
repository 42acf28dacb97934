"""`ganvas studio`: the web page of runs, on this machine."""

import secrets
from pathlib import Path
from typing import Annotated
from urllib.parse import urlencode

from cyclopts import Parameter

from ..errors import UserError
from ..training.progress import ProgressBar

DATA_HELP = "folders whose data the page may train on, besides what is sent to it"
HOST_HELP = "the address to listen on; another than this machine's own asks visitors for a token"


def studio(
    *,
    runs_dir: Annotated[Path, Parameter(alias="--runs", help="where the run folders are")] = Path("runs"),
    data: Annotated[tuple[Path, ...], Parameter(help=DATA_HELP)] = (Path(),),
    host: Annotated[str, Parameter(help=HOST_HELP)] = "127.0.0.1",
    port: Annotated[int, Parameter(help="the port; 0 for any that is free")] = 8323,
    token: Annotated[str | None, Parameter(help="what visitors have to know; made up where it is needed")] = None,
) -> None:
    """Open a web page on which to start, watch, stop and explore runs; Ctrl-C ends it, and no run with it."""
    try:
        import uvicorn

        from .app import make_app
        from .settings import Settings
    except ModuleNotFoundError as error:
        raise UserError(f"the studio needs {error.name}: pip install 'ganvas[studio]'") from error
    from ..web.guard import is_loopback
    from ..web.server import listen

    if token is None:
        token = "" if is_loopback(host) else secrets.token_urlsafe(24)
    if not (token.isascii() and token.isprintable()) or not (token or is_loopback(host)):
        raise UserError("`token`: give letters, digits and signs of ASCII; or leave it out, and one is made")
    with listen(host, port) as listener:
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}/"
        query = f"?{urlencode({'token': token})}" if token else ""
        ProgressBar().say(f"the studio is at {address}{query} (Ctrl-C ends it)")
        app = make_app(Settings(runs_dir, data, host, token))
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        app.state.is_ending = lambda: server.should_exit
        server.run([listener])
