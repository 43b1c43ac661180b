"""What clients are given to authenticate with, checked before anything is made of it."""

from __future__ import annotations

import base64


def require_one(needs: str, *, may_borrow: bool, **given: object) -> None:
    """Check that exactly one kind of authentication is given, or none where an application may lend one.

    Args:
        needs: What the error begins with, such as "Cosmos DB needs exactly one of ...".
        may_borrow: Whether none will do.
        given: What was given, by the names of the arguments; None for nothing.

    Raises:
        ValueError: None or several are given; the message names them, and no value.
    """
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1 or not (names or may_borrow):
        raise ValueError(f"{needs}, not {' and '.join(names) or 'none'}")


def is_key(text: str) -> bool:
    """Tell whether a text can be a key, which Azure writes in base64; no connection string and no signature is that."""
    try:
        return bool(base64.b64decode(text, validate=True))
    except ValueError:
        return False


def checked_account_key(key: str, what: str) -> str:
    """Give the key of an account.

    Raises:
        ValueError: It is none; the message calls it ``what``, and does not repeat it.
    """
    if is_key(key):
        return key
    if "AccountKey=" in key:
        raise ValueError(f"{what} holds a connection string: pass it as connection_string=")
    raise ValueError(f"{what} must be the account's key as the portal shows it, in base64")
