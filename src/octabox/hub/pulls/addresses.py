"""Read addresses of pages and files of the Hub, as a browser shows them: the repository, the revision and the file."""

from __future__ import annotations

import shlex
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants

from octabox.errors import InvalidParameterError, ModelNotFoundError
from octabox.hub.folder import is_hub_id
from octabox.hub.pulls.needed import PullRequest
from octabox.hub.responses.messages import Target

#: Names of the public Hub, in addition to that of the configured one.
HOSTS = frozenset({"huggingface.co", "www.huggingface.co", "hf.co"})

#: Parts of the path of a page that precede a revision, and those of a file.
_FOLDER, _FILE = "tree", ("blob", "resolve", "raw")

#: Number of the parts of a revision such as ``refs/pr/1``.
_REF_PARTS = 3


def parse_address(text: str) -> Target | None:
    """Return what an address of the Hub refers to, also without its scheme; None for any other text.

    Raises:
        ModelNotFoundError: It is a page of the Hub that is not of a model.
        InvalidParameterError: It is a folder of a model.
    """
    try:
        split = urlsplit(text if "://" in text else f"https://{text}")
    except ValueError:
        return None
    host = split.netloc.lower()
    if split.scheme not in ("http", "https") or host not in HOSTS | {urlsplit(constants.ENDPOINT).netloc}:
        return None
    parts = [unquote(each) for each in split.path.split("/") if each]
    repo, rest = "/".join(parts[:2]), parts[2:]
    if not is_hub_id(repo) or (rest and (rest[0] not in (_FOLDER, *_FILE) or len(rest) == 1)):
        hint = f"Use its id, such as ORG/REPO, or the address of its page: {constants.ENDPOINT}/ORG/REPO."
        if "://" in text and "resolve" in parts:
            hint += " A file of something else needs its SHA-256: `octabox pull URL --sha256 SHA256`."
        raise ModelNotFoundError(f"{text} is not the address of a model or of its file.", hint=hint)
    if not rest:
        return Target(repo)
    count = _REF_PARTS if rest[1] == "refs" else 1
    revision, path = "/".join(rest[1 : 1 + count]), "/".join(rest[1 + count :])
    if path and rest[0] == _FOLDER:
        message = f"{text} is a folder of {repo}, which is not downloaded on its own."
        raise InvalidParameterError(message, hint=f"Use the model: `octabox pull {repo}`.", parameter="model")
    return Target(repo, None if revision == constants.DEFAULT_REVISION else revision, path or None)


def source_of(text: str) -> str:
    """Return the Hub id, with its revision, that an address of the Hub refers to; any other text as it is.

    Raises:
        ModelNotFoundError: It is a page of the Hub that is not of a model.
        InvalidParameterError: It is a file or a folder of a model.
    """
    address = parse_address(text)
    if address is not None and address.file:
        hint = f"Download it first: `octabox pull {shlex.quote(text)}`."
        raise InvalidParameterError(f"{text} is a file of {address.repo}.", hint=hint, parameter="model")
    return address.source if address else text


def request_of(
    model: str, revision: str | None = None, file: str | None = None, variant: str | None = None
) -> PullRequest:
    """Return the request for a Hub id or an address of the Hub.

    Args:
        model: The id or the address.
        revision: Branch, tag or commit.
        file: The one file to download.
        variant: Variant of the weights.

    Raises:
        ModelNotFoundError: It is a page of the Hub that is not of a model.
        InvalidParameterError: The address states another revision or file.
    """
    address = parse_address(model) or Target(model)
    for name, requested, stated in (("revision", revision, address.revision), ("file", file, address.file)):
        if requested and stated and requested != stated:
            message = f"`{name}` is '{requested}', and the address states '{stated}'."
            raise InvalidParameterError(message, hint="Leave one of them out.", parameter=name)
    return PullRequest(address.repo, revision or address.revision, file or address.file, variant)
