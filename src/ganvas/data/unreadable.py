"""Why an image could not be read: for good, since its file is damaged, or only this time; and what Pillow warns of."""

import errno
import re
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from ..errors import error_reason
from .listing import HEIC_REMEDY, File, register_heic
from .memory import is_out_of_memory


class PassingFailure(str):
    """Why an image could not be read this time, which says nothing of its file: memory or the system failed."""


def unreadable_reason(error: Exception, file: File) -> str:
    """Why a file could not be read, without its folder."""
    if isinstance(error, PermissionError):
        return f"cannot be read ({error_reason(error)})"
    if isinstance(error, UnidentifiedImageError) and not register_heic() and is_heic(file):
        return f"{file.name} is HEIC inside; {HEIC_REMEDY}"
    if isinstance(error, UnidentifiedImageError):
        return f"cannot identify image file '{file.name}'"
    if isinstance(error, Image.DecompressionBombError):  # of a stream: what is read whole has `check_decodable`
        return f"has over {2 * (Image.MAX_IMAGE_PIXELS or 0):,} pixels, the most of a streamed image: make it smaller"
    message, path = str(error), str(file.path)
    reason = message.replace(path, file.name).replace(repr(path)[1:-1], file.name) or type(error).__name__
    is_of_system = getattr(error, "errno", None) not in (None, errno.EINVAL)  # which a damaged offset leads to
    return PassingFailure(reason) if is_of_system or is_out_of_memory(error) else reason


def is_heic(file: File) -> bool:
    """Whether a file, whatever its name, begins like HEIC."""
    return re.match(rb"....ftyp(hei[cxms]|hev[cxms]|mif1)", file.read(16), re.DOTALL) is not None


@contextmanager
def lift_pixel_limit() -> Iterator[list[str]]:
    """Lift Pillow's limit of pixels, for `images` has its own.  At the end the list has a note of its warnings."""
    old_limit, messages, notes = Image.MAX_IMAGE_PIXELS, Counter[str](), list[str]()
    records = list[warnings.WarningMessage]()
    Image.MAX_IMAGE_PIXELS = None
    try:
        with warnings.catch_warnings(record=True) as records:
            warnings.simplefilter("always")
            yield notes
    finally:
        Image.MAX_IMAGE_PIXELS = old_limit
        for warning in records:
            if "PIL" in Path(warning.filename).parts:
                messages[" ".join(str(warning.message).split())] += 1
            else:
                warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        texts = [f"{text} ({n} times)" if n > 1 else text for text, n in messages.most_common(3)]
        notes += [f"the decoder warns: {'; '.join(texts)}"] if texts else []
