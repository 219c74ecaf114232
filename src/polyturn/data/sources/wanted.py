"""Which documents may be read at all: by language, licence, owner, size, and being text.

What is known before a file is opened is asked first, so that what is not wanted costs a look at its name.
"""

from functools import cache, lru_cache

from polyturn.data.config import Config
from polyturn.data.languages import by_name, candidates, detect, is_binary
from polyturn.data.languages import ending as name_ending
from polyturn.data.licences import allowed, of_header, of_saying
from polyturn.data.optout import OptOut
from polyturn.data.prose import PROSE, prose_of, turns_to_prose
from polyturn.data.sources.types import Dropped, Raw

BOM = b"\xef\xbb\xbf"


@cache
def _optout(path: str) -> OptOut:
    """The list, read once by each worker."""
    return OptOut.load(path) if path else OptOut()


class Wanted:
    """The rules of one config for one of its sources."""

    def __init__(self, config: Config, source: int) -> None:
        """Raises UserError where the opt-out list cannot be read."""
        self.rules = config.filter
        self.languages = frozenset(config.data.languages)
        self.prose = config.source[source].prose
        self.optout = _optout(config.filter.optout)
        self.licence_named = lru_cache(1 << 12)(of_saying)
        self.licence_allowed = lru_cache(1 << 12)(lambda licence: allowed(licence, config.filter.licences))

    def size(self, size: int) -> str | None:
        """Why a document of so many bytes is left out, or None."""
        if size == 0:
            return "empty"
        return "too-small" if size < self.rules.smallest else "too-large" if size > self.rules.largest else None

    def owner(self, repo: str, path: str) -> str | None:
        """Why nothing is taken from a repository, or None. Where its name is that of a folder, others may be too."""
        folders = path.rpartition("/")[0]
        by_path = (not repo or path.startswith(f"{repo}/")) and self.optout.lists_folder(folders, owners=not repo)
        return "opt-out" if by_path or self.optout.lists_repo(repo) else None

    def name(self, path: str) -> str | None:
        """Why a file of this name is left out, or None: its text has to be looked at."""
        if is_binary(path):
            return "binary"
        if self.prose and turns_to_prose(path):
            found: tuple[str, ...] = PROSE
        else:
            found = candidates(path)
        if not found:
            return "unknown-language" if name_ending(path) else None
        return None if not self.languages or self.languages.intersection(found) else "language"

    def document(
        self, id: str, path: str, data: bytes, repo: str, licence: str | None, language: str, prompt: int = 0
    ) -> Raw | Dropped:
        """The document, or why not.

        Args:
            licence: as the source says it; an SPDX line in the file itself decides.
            language: "" for unknown; it is then taken from the path and the text.
            prompt: bytes of `data` that are the prompt; with nothing behind it a document is empty.
        """
        language = language or by_name(path)
        own = of_header(data[prompt:])
        licence = own if own is not None else licence and self.licence_named(licence)

        def dropped(reason: str) -> Dropped:
            return Dropped(id, len(data), language, reason)

        reason = "empty" if len(data) == prompt else self.size(len(data)) or self.owner(repo, path)
        if reason:
            return dropped(reason)
        if not self.licence_allowed(licence or ""):
            return dropped("licence")
        if b"\0" in data:
            return dropped("binary")
        try:
            text = data.removeprefix(BOM).decode()
        except UnicodeDecodeError:
            return dropped("not-utf-8")
        if self.optout.lists_bytes(data) or (prompt and self.optout.lists_bytes(data[prompt:])):
            return dropped("opt-out")
        if self.prose and turns_to_prose(path):
            prose = prose_of(path, text)
            if prose is None:
                return dropped("no-prose")
            language, text = prose
        language = language or detect(path, text) or ""
        if not language:
            return dropped("unknown-language")
        if self.languages and language not in self.languages:
            return dropped("language")
        prompt = max(prompt - len(BOM), 0) if data.startswith(BOM) else prompt
        return Raw(id, repo, path, text.encode(), licence, language, len(data), prompt)
