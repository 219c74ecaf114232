"""Folders of source files, git checkouts among them.

Symbolic links are not followed, as in git: what they point to is read where it is, if that is in the folder, and is
not part of the folder otherwise. So a loop of links cannot be entered. Only what a licence file or metadata says is
read through a link, if it stays in the folder. What version control keeps for itself (.git) is no part of it either,
nor is a folder below that holds a build of training data: a build may write into its own source.

A file belongs to the git checkout that it is in, called "owner/name" by its remote ("group/subgroup/name"), or else to
the first level of folders. Its licence is what the nearest folder above says that says anything, in a licence file or
else in metadata, up to the root of its checkout.
"""

import configparser
import errno
import os
import re
import stat
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass, replace

from polyturn.data import licences
from polyturn.data.languages import by_name, is_binary
from polyturn.data.sources.types import Dropped, Raw, Unit
from polyturn.data.sources.wanted import Wanted
from polyturn.utils.errors import UserError
from polyturn.utils.lock import LOCK

UNIT_BYTES = 1 << 25  # of files in a unit, about
UNIT_FILES = 20_000  # at most
VERSION_CONTROL = (".git", ".hg", ".svn", ".bzr", "CVS")
BUILD = "build.json"  # with a lock beside it: the folder of a build


@dataclass(frozen=True)
class Repo:
    """What files belong to."""

    name: str
    licence: str  # an SPDX expression, "" for unknown
    checkout: bool = False


@dataclass(frozen=True)
class Folder:
    """One folder of a walk: its path within the root ("" or ending in a slash), and what is in it beside folders."""

    inside: str
    entries: list[tuple[str, os.stat_result | None]]  # (name, what is known of it), sorted by name
    checkout: bool  # there is a .git in it


def units(source: int, name: str, path: str) -> Iterator[Unit]:
    """The units of a source of kind `folder`. Raises UserError where there is no such folder."""
    yield from grouped(source, name, path, _files(path))


type Listed = tuple[str, os.stat_result | None, Repo]  # a file: path, what is known of it, whose it is


def grouped(source: int, name: str, place: str, files: Iterable[Listed]) -> Iterator[Unit]:
    """Units of files, each about `UNIT_BYTES` of what has to be opened."""
    held: list[list[str]] = []
    size = 0
    for path, found, repo in files:
        held.append([path, repo.name, repo.licence, stamp(found)])
        size += min(found.st_size, UNIT_BYTES) if found and not is_binary(path) else 0
        if size >= UNIT_BYTES or len(held) >= UNIT_FILES:
            yield Unit(source, "files", name, place, held)
            held, size = [], 0
    if held:
        yield Unit(source, "files", name, place, held)


def stamp(found: os.stat_result | None) -> str:
    """What is another one where a file has changed, as far as its size and time tell; "" for what is not there."""
    return f"{found.st_size}-{found.st_mtime_ns}" if found else ""


def walk(root: str, leave_out: Container[str] = ()) -> Iterator[Folder]:
    """Every folder from `root` on, parents first, in one order on every machine.

    Links, and folders that cannot be listed, are among the entries: `read` says why they give nothing. A folder below
    `root` in which a build is, finished or not, is not entered.

    Args:
        leave_out: paths of folders within the root, not entered.

    Raises:
        UserError: `root` cannot be listed.
    """
    waiting = [""]
    while waiting:
        inside = waiting.pop()
        try:
            with os.scandir(os.path.join(root, inside)) as listing:
                found = sorted(listing, key=lambda entry: entry.name)
        except OSError as error:
            if not inside:
                raise UserError(f"Cannot read the folder {root}: {error.strerror}; check the path.") from None
            yield Folder(inside.removesuffix("/"), [("", None)], False)
            continue
        if inside and {BUILD, LOCK} <= {entry.name for entry in found}:
            continue
        folders = [e.name for e in found if e.is_dir(follow_symlinks=False) and e.name not in VERSION_CONTROL]
        entries = [(e.name, _stat(e)) for e in found if not e.is_dir(follow_symlinks=False) and e.name != ".git"]
        yield Folder(inside, entries, any(e.name == ".git" for e in found))
        waiting += [f"{inside}{name}/" for name in reversed(folders) if f"{inside}{name}" not in leave_out]


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:  # it is gone again: reading will tell
        return None


def _files(root: str) -> Iterator[Listed]:
    repos: dict[str, Repo] = {}
    for folder in walk(root):
        parent, _, _ = folder.inside.removesuffix("/").rpartition("/")
        above = repos.get(parent and parent + "/", Repo("", ""))
        here = folder.inside.removesuffix("/")
        place = os.path.join(root, folder.inside)
        own = licence_in(root, [folder.inside + name for name, _ in folder.entries])
        if folder.checkout:
            repo = Repo(_remote(place) or here, own, checkout=True)
        elif here and "/" not in here and not above.checkout:
            repo = Repo(here, own or above.licence)
        else:
            repo = replace(above, licence=own) if own else above
        repos[folder.inside] = repo
        for name, found in folder.entries:
            yield folder.inside + name, found, repo


def licence_in(root: str, paths: Iterable[str]) -> str:
    """The licence that files give, named by their paths in `root`: by their texts, or if none, what metadata says."""
    named = [(os.path.basename(path), os.path.join(root, path)) for path in paths]
    files = [_followed(path, root) for name, path in named if licences.is_licence_file(name)]
    if any(not os.access(file, os.R_OK) for file in files):
        return licences.OTHER  # what it says is not known, and what the folder above says is not what it says
    if texts := [_head(file) for file in files if not os.path.isdir(file)]:
        return licences.of_texts(texts)
    said = (licences.declared(n, _head(_followed(path, root))) for n, path in named if licences.is_metadata(n))
    return next(filter(None, said), "")


def _followed(path: str, root: str) -> str:
    """What a symbolic link within `root` points to; "" where that is elsewhere or nowhere; other paths as they are."""
    reason = _link(path, os.path.realpath(root))
    return path if reason is None else os.path.realpath(path) if reason == "link" else ""


def _head(path: str) -> str:
    data = content(path, licences.LARGEST, cut=True)
    return data.decode(errors="replace") if isinstance(data, bytes) else ""


def _remote(checkout: str) -> str:
    """The "owner/name" of a checkout's remote; "" where it has none. Of submodules and worktrees `.git` is a file."""
    git = os.path.join(checkout, ".git")
    if os.path.isfile(git):
        git = os.path.join(checkout, _head(git).removeprefix("gitdir:").strip())
        if common := _head(os.path.join(git, "commondir")).strip():  # a worktree's: where the configuration is
            git = os.path.join(git, common)
    config = configparser.RawConfigParser(strict=False, allow_no_value=True)
    try:
        config.read_string(_head(os.path.join(git, "config")))
    except (configparser.Error, ValueError):  # ValueError: a path with a NUL
        return ""
    remotes = [section for section in config.sections() if section.startswith('remote "')]
    chosen = next((each for each in ['remote "origin"', *remotes] if config.has_option(each, "url")), "")
    return _repo_name(config.get(chosen, "url", fallback="") or "")


def _repo_name(url: str) -> str:
    """All that stands behind the host of a remote, or of a path on this machine the last two folders."""
    remote = re.fullmatch(r"(?:\w[\w+.-]*://[^/]+/|[^/:]+:(?!//))/*(.+?)(?:\.git)?/*", url)
    local = re.search(r"([^/:]+/[^/:]+?)(?:\.git)?/*$", url)
    return remote[1] if remote else local[1] if local else ""


def read(unit: Unit, wanted: Wanted) -> Iterator[Raw | Dropped]:
    """What the files of a unit hold, in order."""
    root = os.path.realpath(unit.place)
    for path, repo, licence, _ in unit.files:
        id = f"{unit.name}/{path}"
        whole = os.path.join(root, path)
        if not _is_unicode(path):
            yield Dropped(ascii(id)[1:-1], _bytes(whole), "", "name")
            continue
        reason = _link(whole, root) or wanted.name(path) or wanted.owner(repo, path)
        data = reason or content(whole, wanted.rules.largest)
        if isinstance(data, bytes):
            yield wanted.document(id, path, data, repo, licence, "")
        else:
            yield Dropped(id, _bytes(whole), by_name(path), data)


def content(path: str, largest: int, cut: bool = False) -> bytes | str:
    """The bytes of a regular file, or why there are none. `cut`: of a larger file, the first `largest`.

    A larger file is never read further, and nothing else than a regular file is waited for or followed.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        return "not-a-file" if error.errno == errno.ENXIO else "unreadable"  # ENXIO: a socket
    try:
        found = os.fstat(file)
        if stat.S_ISDIR(found.st_mode):
            return "unreadable"  # a folder among the files is one that could not be listed
        if not stat.S_ISREG(found.st_mode):
            return "not-a-file"
        if found.st_size > largest and not cut:
            return "too-large"
        with open(file, "rb", closefd=False) as handle:
            data = handle.read(largest + 1)
        return "too-large" if len(data) > largest and not cut else data[:largest]
    except OSError:
        return "unreadable"
    finally:
        os.close(file)


def _link(path: str, root: str) -> str | None:
    """Why a symbolic link gives nothing; None for anything else."""
    if not os.path.islink(path):
        return None
    try:
        target = os.path.realpath(path, strict=True)
    except OSError:
        return "link-broken"
    return "link" if os.path.commonpath([target, root]) == root else "link-outside"


def _bytes(path: str) -> int:
    try:
        return os.lstat(path).st_size
    except OSError:
        return 0


def _is_unicode(path: str) -> bool:
    """Whether a file's name can be written in UTF-8; others come as lone surrogates."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
