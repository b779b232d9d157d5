"""Labels of models, profiles and critics: taken from ``LABEL=WHAT``, and kept apart."""

from __future__ import annotations

import os
from collections.abc import Sequence

from basicsr.utils.errors import UserError


def split_label(text: str) -> tuple[str, str]:
    """Splits ``[LABEL=]WHAT`` at its first ``=``; an existing path is WHAT as a whole, whatever is in its name.

    Returns:
        The label (empty if there is none) and WHAT.

    Raises:
        UserError: If WHAT is empty, which as a path would mean the current folder.
    """
    label, separator, what = text.partition("=")
    if not separator or os.path.exists(text):
        label, what = "", text
    if not what.strip():
        raise UserError(f"{text!r} names nothing; expected [LABEL=]PATH (the current folder is .)")
    return label, what


def refuse_equal_labels(labels: Sequence[str], what: str, form: str) -> None:
    """Raises :class:`UserError` unless there are labels and all of them differ.

    Args:
        labels: The labels.
        what: What they name, in the plural, for the message.
        form: How a user gives another label, for the message (``LABEL=FILE``).
    """
    if not labels or len(set(labels)) < len(labels):
        raise UserError(f"{what} need different names; got {', '.join(labels) or 'none'}. Name them {form}")
