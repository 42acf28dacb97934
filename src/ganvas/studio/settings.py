"""What a studio shows, and where it keeps what it is sent."""

from dataclasses import dataclass
from pathlib import Path

from fastapi import Request


@dataclass(frozen=True)
class Settings:
    """What a studio shows, and to whom."""

    runs_dir: Path = Path("runs")
    data: tuple[Path, ...] = (Path(),)
    """folders whose data can be trained on"""
    host: str = "127.0.0.1"
    token: str = ""
    """what a visitor has to know; nobody is asked where it is empty"""

    @property
    def data_dir(self) -> Path:
        """Where the studio keeps uploads and what its processes said: in the folder of runs."""
        return self.runs_dir / ".studio"

    @property
    def uploads(self) -> Path:
        """Where files go that are sent."""
        return self.data_dir / "uploads"

    @property
    def sheets(self) -> Path:
        """Where contact sheets of reports are."""
        return self.data_dir / "sheets"


def settings_of(request: Request) -> Settings:
    """The settings of the studio that is asked."""
    settings: Settings = request.app.state.settings
    return settings
