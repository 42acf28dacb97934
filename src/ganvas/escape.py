"""Text of others on one line.

Names of files, classes and runs may hold escape sequences, which a terminal obeys, newlines, which look like lines of
our own, and bytes that are no text, on which a strict stdout fails.
"""

from unicodedata import category

HIDDEN_CATEGORIES = ("Cc", "Cs", "Cf", "Zl", "Zp", "Co", "Cn")
"""Unicode's categories of what is not shown: controls, surrogates, directions, ends of lines, private, unknown"""
JOINERS = "\u200c\u200d"
"""of these, what letters and emoji are made of"""


def escape_text(text: str) -> str:
    """The text on one line, with escapes such as \\x1b and \\n in place of all that is not shown."""
    return text if text.isprintable() else "".join(map(escape_character, text))


def escape_character(c: str) -> str:
    """A character, or its escape; a byte of a file name that is no text is shown as itself, \\xff."""
    if "\udc80" <= c <= "\udcff":  # how Python keeps a byte that is no text
        return f"\\x{ord(c) - 0xDC00:02x}"
    return c.encode("unicode-escape").decode() if category(c) in HIDDEN_CATEGORIES and c not in JOINERS else c
