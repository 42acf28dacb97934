"""What a conditional model asks of the data."""

from ..data import Collection
from ..errors import UserError


def check_classes(data: Collection, why: str, otherwise: str = "") -> None:
    """UserError unless the examples have labels, of two classes or more; `why` says who needs them.

    The message ends in what was seen of labels and classes when the data were read.
    """
    if len(data.classes) > 1 and data.labels is not None:
        return
    has = f"one class only, {data.classes[0]}" if data.classes else "no labels"
    seen = "; ".join(note for note in data.notes if "label" in note or "class" in note or "folder" in note)
    raise UserError(
        f"{data.name} has {has}, and {why}: give a folder with a folder a class, or with a labels.csv, or an array of "
        f"labels{otherwise}" + (f".  Seen: {seen}" if seen else "")
    )
