"""What the commands share: flags, the device, the compilation cache."""

import contextlib
import os
import platform as machine
import re
import sys
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from absl import flags
from ml_collections import config_flags

from seq2seq_jax import config as configs
from seq2seq_jax.config_checks import CHOICES, nearest
from seq2seq_jax.processor import cores, instructions
from seq2seq_jax.types import InputError

PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}


class UsageError(Exception):
    """A wrong command line; exit status 2."""


class Help(Exception):
    """--help was asked for."""


def make_flags(*names: str) -> flags.FlagValues:
    """Those of workdir, platform and config that are named; each command adds its own."""
    values = flags.FlagValues()
    if "workdir" in names:
        flags.DEFINE_string("workdir", None, "Folder of the run or sweep.", flag_values=values)
    if "platform" in names:
        flags.DEFINE_enum(
            "platform",
            None,
            list(PLATFORMS),
            "Device to use; without it the best one that is there.",
            flag_values=values,
        )
    if "config" in names:
        flags.DEFINE_string(
            "config",
            None,
            "Experiment file, FILE.py or FILE.py:ARGUMENT. --config.KEY=VALUE overrides a key of"
            " configs/default.py, as --config.model.attention.score=dot.",
            flag_values=values,
        )
    return values


def parse(values: flags.FlagValues, arguments: Sequence[str]) -> None:
    """Sets the flags from a command line that holds nothing else.

    Raises:
      UsageError: for unknown flags, wrong values and other arguments.
      Help: for --help.
    """
    if rest := parse_some(values, arguments):
        raise UsageError(f"unexpected argument {rest[0]}")


def parse_some(values: flags.FlagValues, arguments: Sequence[str], hint: str = "") -> list[str]:
    """Sets the flags from the command line; returns the other arguments. `hint`: what to say of a
    flag that is like none.

    Raises:
      UsageError: for unknown flags and wrong values.
      Help: for --help.
    """
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    if {"--help", "-h", "-help"} & set(before):
        raise Help
    try:
        rest = values(["seq2seq_jax", *arguments])[1:]
    except flags.UnrecognizedFlagError as error:
        names = [f"--{name}" for name in values]
        if "config" in values:
            names += [f"--config.{key}" for key in configs.flatten(configs.defaults())]
        hint = nearest(f"--{error.flagname}", names) or hint
        raise UsageError(f"no flag --{error.flagname}{hint}") from None
    except (flags.Error, ValueError) as error:  # the latter of --nounknown=true
        raise UsageError(str(error)) from None
    for name in values:  # a shell leaves the ~ of --workdir=~/runs alone
        values[name].value = _at_home(values[name].value)
    for folder in _folders(values):
        if os.path.isfile(folder):
            raise UsageError(f"--workdir={folder} is a file, and has to be a folder")
    return rest


def _at_home(value: Any) -> Any:
    if isinstance(value, list):
        return [_at_home(one) for one in value]
    return os.path.expanduser(value) if isinstance(value, str) else value


def _folders(values: flags.FlagValues) -> list[str]:
    given = values.workdir if "workdir" in values else None
    return [given] if isinstance(given, str) else given or []


def flags_help(values: flags.FlagValues) -> str:
    """The flags of a command, without those that absl adds to every program."""
    own = sorted(set(values) - {"flagfile", "undefok"})
    lines = []
    for name in own:
        flag = values[name]
        choices = getattr(flag.parser, "enum_values", None)
        takes = f"={'|'.join(choices)}" if choices else "" if flag.boolean else "=..."
        default = f" (default: {flag.default_as_str})" if flag.default else ""
        lines.append(f"  --{name}{takes}")
        text = re.sub(r"^<.*?>: ", "", flag.help) + default
        lines.append(flags.text_wrap(text, length=90, indent="      "))
    return "\n".join(lines)


def require(values: flags.FlagValues, *names: str) -> None:
    for name in names:
        value = values[name].value
        if not value or not all(value):  # several folders, of which one is empty
            raise UsageError(f"--{name}=... is missing")


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """(--config.KEY=VALUE arguments, all others)."""
    end = list(arguments).index("--") if "--" in arguments else len(arguments)
    is_override = [
        i < end and bool(re.match(r"--?(no)?config\.", argument))
        for i, argument in enumerate(arguments)
    ]
    # `--config.a.b value`: the value is the next argument.
    for i, argument in enumerate(arguments[:-1]):
        if is_override[i] and "=" not in argument and not arguments[i + 1].startswith("-"):
            is_override[i + 1] = True
    chosen = [a for a, yes in zip(arguments, is_override, strict=True) if yes]
    others = [a for a, yes in zip(arguments, is_override, strict=True) if not yes]
    return chosen, others


def parse_overrides(arguments: Sequence[str]) -> dict[str, Any]:
    """The values of `--config.KEY=VALUE`, each of the type that the key has in configs/default.py.

    Raises:
      InputError: that lists all unknown keys.
      UsageError: for a value of the wrong type.
    """
    defaults = configs.defaults()
    known = configs.flatten(defaults)
    keys = [m[1] for a in arguments if (m := re.match(r"--?(?:no)?config\.([^=]*)", a)) is not None]
    unknown = [
        f"--config.{key}: no such key{nearest(key, known)}" for key in keys if key not in known
    ]
    if unknown:
        raise InputError("\n  ".join(["unknown keys:", *unknown]))
    values = flags.FlagValues()
    argv = ["seq2seq_jax", *(one for argument in arguments for one in _each(argument, known))]
    config_flags.DEFINE_config_dict("config", defaults, flag_values=values, sys_argv=argv)
    try:
        rest = values(argv)[1:]
    except (flags.Error, ValueError, TypeError) as error:
        raise UsageError(str(error)) from None
    if rest:
        raise UsageError(f"unexpected argument {rest[0]}")
    return config_flags.get_override_values(values["config"])


def _each(argument: str, known: Mapping[str, Any]) -> list[str]:
    """`--config.KEY=a,b` as one argument for each name, where the key holds several of a list."""
    name, _, value = argument.partition("=")
    key = re.sub(r"^--?config\.", "", name)
    several = key in CHOICES and isinstance(known.get(key), tuple)
    names = several and re.fullmatch(r"\w+(,\w+)+", value)
    return [f"{name}={one}" for one in value.split(",")] if names else [argument]


def use_platform(platform: str | None) -> None:
    """Chooses the device before JAX is imported and says which one it is, on standard error.

    Raises:
      InputError: where the platform was asked for and is absent.
    """
    if platform:
        os.environ["JAX_PLATFORMS"] = PLATFORMS[platform]
    use_compilation_cache()
    import jax

    use_cores()
    try:
        devices = jax.devices(platform)
    except (RuntimeError, AssertionError) as error:  # an assertion where no driver is installed
        reason = "".join(f" ({line})" for line in str(error).splitlines()[:1])
        raise InputError(
            f"--platform={platform or 'unset'}: JAX finds no such device here{reason}."
            " Leave the flag out to take what is there; for another JAX, start"
            " launch.sh with SEQ2SEQ_JAX_ACCELERATOR=cpu, cuda or tpu."
        ) from None
    kind = devices[0].device_kind
    kind = "" if kind == devices[0].platform else f" ({kind})"
    several = len(devices) > 1 and devices[0].platform != "cpu"
    count = f"{len(devices)} x " if several else ""
    print(f"device: {count}{devices[0].platform}{kind}", file=sys.stderr, flush=True)


def use_cores() -> None:
    """Each core is a device of JAX's CPU, unless somebody has said how many devices that has; which
    of them are used is decided where it is known what for (`training.mesh`)."""
    import jax

    by_flag = "host_platform_device_count" in os.environ.get("XLA_FLAGS", "")
    if not by_flag and "JAX_NUM_CPU_DEVICES" not in os.environ:
        with contextlib.suppress(RuntimeError):  # JAX has begun already, as in a notebook
            jax.config.update("jax_num_cpu_devices", cores())


def use_compilation_cache() -> None:
    """Keeps compiled steps in the user's cache folder; JAX_COMPILATION_CACHE_DIR wins."""
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(cache_folder()))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")


def cache_folder() -> Path:
    """The user's cache folder, a part for each kind of processor.

    Code that was compiled for one processor may not run on another that shares the home folder.
    """
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    kind = [machine.machine(), machine.processor(), *sorted(instructions())]
    code = zlib.crc32(repr(kind).encode())
    return Path(home) / "seq2seq_jax" / "jax" / f"{code:08x}"
