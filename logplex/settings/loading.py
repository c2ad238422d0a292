# SPDX-License-Identifier: Apache-2.0

"""
Load the settings from a TOML file and from the environment. Report each mistake in one line.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard, get_args, get_origin

import attrs
from cattrs import Converter
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ForbiddenExtraKeysError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from logplex.settings.bounds import OptionError
from logplex.settings.environment import COMMAND_VARIABLES, VARIABLES
from logplex.settings.sections import Settings

#: The content of a file before it is checked.
Tables = dict[str, Any]

#: The path to an option: its section, for ``[[credentials]]`` an index, and its name.
OptionPath = tuple[str | int, ...]


class SettingsError(Exception):
    """
    The settings contain mistakes.

    The text of the error has one line for each mistake. A line names the file or the environment
    variable, the section and the option. The text never contains a secret.
    """


@attrs.frozen
class Mistake:
    """A mistake in the settings: the place and the reason."""

    path: OptionPath
    why: str


def load_settings(path: str | None, environ: Mapping[str, str]) -> Settings:
    """
    Load the settings of a node.

    :param path: a TOML file; ``None`` to use the default of every option.
    :param environ: the environment variables, which override the file; see
        :data:`~logplex.settings.environment.VARIABLES`.
    :raise SettingsError: the file or the environment has a mistake.
    """
    tables = {} if path is None else _read(path)
    origins, lines = _override(tables, environ)
    try:
        settings = _converter.structure(tables, Settings)
    except BaseValidationError as error:
        lines += [_line(mistake, path, origins) for mistake in _mistakes(error, ())]
    if lines:
        raise SettingsError("\n".join(lines))
    return settings


def unknown_variables(environ: Mapping[str, str]) -> list[str]:
    """
    Return a line of text for each environment variable that has a name like Logplex's variables,
    but is unknown.

    An unknown variable is not a mistake, because another program may use it.
    """
    known = [variable.name for variable in VARIABLES]
    return [
        f"{name}: {_unknown(name, known, 'environment variable')}"
        for name in sorted(environ)
        if name.startswith("LOGPLEX_") and name not in known and name not in COMMAND_VARIABLES
    ]


def _read(path: str) -> Tables:
    """Return the sections of a TOML file."""
    try:
        return tomllib.loads(Path(path).read_bytes().decode("utf-8"))
    except OSError as error:
        raise SettingsError(f"logplex: {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise SettingsError(f"logplex: {path}: is not UTF-8 at byte {error.start}") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingsError(f"logplex: {path}: {error}") from None
    except RecursionError:
        raise SettingsError(f"logplex: {path}: is nested too deeply") from None


def _override(
    tables: Tables, environ: Mapping[str, str]
) -> tuple[dict[OptionPath, str], list[str]]:
    """
    Replace values of the file by values of environment variables.

    :return: the name of the variable for each overridden option, and a line of text for each
        variable with a mistake.
    """
    origins: dict[OptionPath, str] = {}
    lines: list[str] = []
    for variable in VARIABLES:
        value = environ.get(variable.name)
        if not value:
            continue
        try:
            parsed = variable.parse(value)
        except ValueError as error:
            lines.append(f"logplex: {variable.name}: {error}")
            continue
        section = tables.setdefault(variable.section, {})
        if isinstance(section, dict):
            section[variable.option] = parsed
            origins[variable.section, variable.option] = variable.name
    return origins, lines


# From a value in the file to a value of the settings.

_TYPE_NAMES = {
    bool: "true or false",
    int: "an integer",
    float: "a number",
    str: "a string",
    list: "a list",
    dict: "a section",
}


def _exactly(value: object, wanted: type) -> Any:
    """Return the value if it has the wanted type. ``true`` is not accepted as an integer."""
    if type(value) is wanted:
        return value
    if wanted is float and type(value) is int:
        return float(value)
    found = _TYPE_NAMES.get(type(value), "a date or time")
    raise ValueError(f"must be {_TYPE_NAMES[wanted]}, not {found}")


def _several(value: object, wanted: Any) -> Any:
    """
    Return a tuple of the values in a list. A single value becomes a tuple of one value; ``""``
    becomes an empty tuple.
    """
    if not isinstance(value, list):
        value = [] if value == "" else [value]
    kind = get_args(wanted)[0]
    return tuple(_converter.structure(value, list[kind]))  # type: ignore[valid-type]


def _is_several(wanted: Any) -> bool:
    return get_origin(wanted) is tuple


def _is_settings(wanted: Any) -> TypeGuard[type[attrs.AttrsInstance]]:
    return isinstance(wanted, type) and attrs.has(wanted)


def _make_section(wanted: Any) -> Any:
    """
    Return a function that makes a settings object from a section of the file.

    :param wanted: the class of the settings object.
    """
    rules: dict[str, Any] = {
        field.name: override(struct_hook=partial(_keeping_rule, field))
        for field in attrs.fields(wanted)
        if field.validator
    }
    structure = make_dict_structure_fn(wanted, _converter, _cattrs_forbid_extra_keys=True, **rules)

    def section(value: object, _: object) -> Any:
        if not isinstance(value, dict):
            raise ValueError("must be a section")
        return structure(value, wanted)

    return section


def _keeping_rule(field: Any, value: object, wanted: Any) -> Any:
    """
    Return the value of a field after checking the field's rule.

    The settings class checks the same rules again, but stops at the first mistake. The check here
    makes it possible to report all mistakes at once.
    """
    made = _converter.structure(value, wanted)
    try:
        field.validator(None, field, made)
    except ValueError as error:
        # The path is known here: an OptionError would add the option's name a second time.
        raise ValueError(str(error)) from None
    return made


_converter = Converter(detailed_validation=True)
for _type in (bool, int, float, str):
    _converter.register_structure_hook(_type, _exactly)
_converter.register_structure_hook_func(_is_several, _several)
_converter.register_structure_hook_factory(_is_settings, _make_section)


# From a mistake to a line.


def _mistakes(error: BaseException, path: OptionPath) -> Iterator[Mistake]:
    """Yield every mistake that an error reports for the option at a path."""
    if isinstance(error, BaseValidationError):
        for each in error.exceptions:
            yield from _mistakes(each, (*path, *_noted(each)))
    elif isinstance(error, ForbiddenExtraKeysError):
        names = [field.name for field in attrs.fields(error.cl)]
        for extra in sorted(error.extra_fields):
            yield Mistake((*path, extra), _unknown(extra, names, "option" if path else "section"))
    elif isinstance(error, OptionError):
        yield Mistake((*path, *error.path), str(error))
    elif isinstance(error, KeyError):
        yield Mistake(path, "is missing")
    else:
        yield Mistake(path, str(error))


def _noted(error: BaseException) -> Iterator[str | int]:
    """Yield the field name and the list index that the library cattrs attached to an error."""
    for note in getattr(error, "__notes__", ()):
        if isinstance(note, AttributeValidationNote):
            yield note.name
        elif isinstance(note, IterableValidationNote):
            yield note.index


def _unknown(name: str, names: Iterable[str], kind: str) -> str:
    """Return the reason for refusing an unknown name, with the most similar known name."""
    close = get_close_matches(name, names, n=1)
    hint = f'; did you mean "{close[0]}"?' if close else ""
    return f"unknown {kind}{hint}"


def _line(mistake: Mistake, path: str | None, origins: Mapping[OptionPath, str]) -> str:
    """Return a line of text that reports a mistake."""
    variable = origins.get(mistake.path[:2])
    if variable is not None:
        return f"logplex: {variable}: {mistake.why}"
    section, *rest = mistake.path
    if section == "credentials":
        shown = "[[credentials]]"
        rest = [f"number {each + 1}" if isinstance(each, int) else each for each in rest]
    else:
        shown = f"[{section}]"
        rest = [each for each in rest if isinstance(each, str)]
    option = " ".join([shown, *map(str, rest)])
    return f"logplex: {path or 'environment'}: {option}: {mistake.why}"
