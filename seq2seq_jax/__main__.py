"""`python -m seq2seq_jax VERB [flags]`: finds the command and imports it alone."""

import errno
import importlib
import io
import os
import re
import sys
from collections.abc import Sequence

COMMANDS = {
    "train": "one run; the same command resumes it",
    "sweep": "every cell of a config's sweep(), over seeds",
    "evaluate": "metrics of a run on a split",
    "translate": "arguments or standard input, a line out for a line in",
    "report": "table, significance, curves and pictures of a sweep or run",
    "benchmark": "speed and memory of a fixed workload",
}


def main(arguments: Sequence[str]) -> int:
    """Exit status: 0 fine, 1 bad input, 2 wrong usage, 130 interrupted; 75 where another process
    trains the run."""
    if sys.stdout is None:  # closed by whoever started this
        sys.stdout = io.StringIO()
    verb = arguments[0] if arguments else "--help"
    if verb in ("--help", "-h", "help"):
        print(usage())
        return 0
    if verb not in COMMANDS:
        from seq2seq_jax.config_checks import nearest

        print(f"error: no command {verb}{nearest(verb, COMMANDS)}\n\n{usage()}", file=sys.stderr)
        return 2
    from seq2seq_jax.commands import common
    from seq2seq_jax.types import InputError

    command = importlib.import_module(f"seq2seq_jax.commands.{verb}")
    try:
        return command.main(arguments[1:])
    except common.Help:
        print(f"{command.__doc__}\n{common.flags_help(command.define())}")
        return 0
    except common.UsageError as error:
        print(f"error: {error} ({verb} --help explains)", file=sys.stderr)
        return 2
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader, as `head`, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a full disk, a folder that may not be written
        full = error.errno == errno.ENOSPC
        hint = "; free some, and give the same command again" if full else ""
        place = f"{error.filename}: {error.strerror}" if error.filename else error
        print(f"error: {place}{hint}", file=sys.stderr)
        return 1
    except RuntimeError as error:  # of JAX
        if not re.search("out of memory|RESOURCE_EXHAUSTED", str(error), re.IGNORECASE):
            raise
        print(
            f"error: {str(error).splitlines()[0]}. Take a smaller data.batch_size or"
            " evaluation.batch_size, or leave out long sentences (data.source.max_length)",
            file=sys.stderr,
        )
        return 1
    except KeyboardInterrupt:
        return 130


def usage() -> str:
    verbs = "\n".join(f"  {name:10} {text}" for name, text in COMMANDS.items())
    return (
        f"usage: ./launch.sh VERB [flags]\n\n{verbs}\n\nVERB --help explains the flags. Without a"
        " VERB the quickstart is trained; ./launch.sh test runs the tests."
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
