"""Addresses of streams, without what must not be told."""

import re
from urllib.parse import urlsplit

HIDDEN = "***"
ASSIGNMENT = re.compile(r"=[^&/;?]*")
"""Some cameras take user and password in the path: `/user=admin&password=...`."""
UNFIT = re.compile(r"[^A-Za-z0-9.-]+")


def is_address(word: str) -> bool:
    return "://" in word


def scheme_of(address: str) -> str:
    return address.partition("://")[0].lower()


def without_secrets(word: str) -> str:
    """Return an address that may be told: no user, no password, no query, no value of any `a=b`.

    What is no address is returned as it is.
    """
    if not is_address(word):
        return word
    scheme, _, rest = word.partition("://")
    # What stands before the last @ may all be a password: it, too, can hold / ? # and @.
    public, mark, _ = re.split(r"([?#]|$)", rest.rpartition("@")[2], maxsplit=1)
    plain = ASSIGNMENT.sub(f"={HIDDEN}", public)
    return f"{scheme}://{plain}{mark}{HIDDEN if mark else ''}"


def stem_of(address: str) -> str:
    """Return what files about a stream are called: its host and the plain part of its path."""
    public = urlsplit(without_secrets(address).replace(HIDDEN, ""))
    return UNFIT.sub("-", f"{public.hostname or ''}{public.path}").strip("-.") or "stream"
