"""From ``data.input`` to the files it names."""

from __future__ import annotations

from collections import Counter
from pathlib import Path, PurePath

from groundup.data.config import STANDARD_LIBRARY, DataConfig
from groundup.data.readers.folder import File, Listing, list_folder, locator_of
from groundup.data.readers.standard_library import LEFT_OUT, standard_library
from groundup.errors import InputError


def list_inputs(config: DataConfig, root: Path) -> Listing:
    """All files of all inputs: in the order of the inputs, then by locator.

    Args:
        config: the section ``data``.
        root: the project folder, to which paths are relative.

    Raises:
        InputError: an input is missing, or holds no file of the wanted endings.
    """
    whole = Listing()
    names: Counter[str] = Counter()
    for entry in (config.input,) if isinstance(config.input, str) else config.input:
        listing = _list_input(entry, config, root, names)
        whole.files += listing.files
        whole.quarantined += listing.quarantined
        whole.other_endings += listing.other_endings
    return whole


def _list_input(entry: str, config: DataConfig, root: Path, names: Counter[str]) -> Listing:
    if entry == STANDARD_LIBRARY:
        listing = list_folder(standard_library(), _source(entry, names), (".py",), LEFT_OUT)
        listing.other_endings.clear()  # its libraries and licence are no text that was meant
        return listing
    path = root / entry
    try:
        path = root / Path(entry).expanduser()
        is_file, is_folder = path.is_file(), path.is_dir()
    except (OSError, RuntimeError):  # a folder on the way may not be entered; nobody's ~name
        is_file = is_folder = False
    source = _source(_name_of(entry), names)
    if is_file:
        return Listing(files=[File(source, locator_of(path.name, Path()), path)])
    if not is_folder:
        raise InputError(
            f"the input {entry!r} is not there",
            where=f"data.input, looked for at {path}",
            fix="give a file or folder of text, relative to the project folder, or `stdlib`",
        )
    listing = list_folder(path, source, config.extensions)
    if not listing.files and not listing.quarantined:
        others = ", ".join(f"{n} {ending}" for ending, n in listing.other_endings.most_common(5))
        raise InputError(
            f"no file ending in {', '.join(config.extensions)} in the folder {entry!r}",
            where=f"data.input, looked for below {path}",
            fix=f"it holds {others}: name their ending in data.extensions"
            if others
            else "put text files there, or point data.input elsewhere",
        )
    return listing


def _name_of(entry: str) -> str:
    """The entry as it was written, so that a project that is renamed or moved keeps its names.

    Of a path that starts at a root or a home only the end: what comes before is of one machine.
    """
    written = PurePath(entry)
    name = written.name if written.is_absolute() or entry.startswith("~") else written.as_posix()
    return (name or entry).encode(errors="backslashreplace").decode()


def _source(name: str, names: Counter[str]) -> str:
    """The input's name in all tables; a second input of the same name gets a number."""
    names[name] += 1
    return name if names[name] == 1 else f"{name}-{names[name]}"
