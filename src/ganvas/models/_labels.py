"""What a conditional model asks of the data."""

from ..data import Dataset
from ..errors import UserError


def validate_labels(data: Dataset, reason: str, alternative: str = "") -> None:
    """UserError unless the examples have labels, of two classes or more; `why` says who needs them.

    The message ends in what was seen of labels and classes when the data were read.
    """
    if len(data.classes) > 1 and data.labels is not None:
        return
    problem = f"one class only, {data.classes[0]}" if data.classes else "no labels"
    label_notes = "; ".join(note for note in data.notes if "label" in note or "class" in note or "folder" in note)
    raise UserError(
        f"{data.name} has {problem}, and {reason}: give a folder with a folder a class, or with a labels.csv, "
        "or an array of "
        f"labels{alternative}" + (f".  Seen: {label_notes}" if label_notes else "")
    )
