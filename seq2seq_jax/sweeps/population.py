"""Which runs of a sweep train as one program: groups by signature, and whether that pays."""

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from seq2seq_jax import config as configs
from seq2seq_jax.config_signature import obstacles, signature
from seq2seq_jax.sweeps import child, claims
from seq2seq_jax.sweeps.runner import Job, Run
from seq2seq_jax.training import groups, twins
from seq2seq_jax.training.logs import clock

MODES = ("off", "auto", "all")
PAYS = 1.1  # times faster than one after another; less is within what a timing varies

Measure = Callable[[Sequence[Run]], dict[str, Any]]


class Group(NamedTuple):
    """Runs that could train as one program.

    `together`: whether they do, and `why`; `cost`: what was measured (see
    benchmarking/population.py), if anything was.
    """

    runs: Job
    together: bool
    why: str = ""
    cost: Mapping[str, Any] = {}

    @property
    def jobs(self) -> list[Job]:
        return [self.runs] if self.together else [[run] for run in self.runs]


class MeasureError(Exception):
    """The measurement did not come to its end; the message is its last line."""


def plan(runs: Sequence[Run], mode: str, members: int, measure: Measure) -> list[Group]:
    """The groups of the runs that are to do, in their order.

    Args:
      runs: what is not done. Runs that have begun go on as they began, whatever the mode.
      mode: `off`: each run alone; `all`: those together that can be; `auto`: where it pays.
      members: of a group at most; 0: as many as there are.
      measure: what the runs take, alone and together; raises MeasureError.
    """
    found: list[Group] = []
    for begun, group in _groups(runs, mode, members):
        if not begun and (lines := obstacles([run.config for run in group])):
            found.append(Group(group, False, "; ".join(lines)))
            continue
        if begun or mode == "all" or len(group) == 1:
            found.append(Group(group, len(group) > 1, "as they began" if begun else ""))
            continue
        try:
            cost = measure(group)
        except MeasureError as error:
            found.append(Group(group, False, f"could not be measured together ({error})"))
            continue
        pays = speedup(cost) >= PAYS
        found.append(Group(group, pays, "" if pays else "does not pay", cost))
    return found


def _groups(runs: Sequence[Run], mode: str, members: int) -> Iterable[tuple[bool, Job]]:
    """(whether it has begun, its runs) of each group, in the order of their first runs.

    A run whose training another one of the sweep makes stands alone behind that one, to take it
    over.
    """
    by_folder = {groups.whole(run.folder): run for run in runs}
    bound = _bound(by_folder)
    makes: dict[str, Run] = {}  # a training -> the first run that makes it
    found: dict[Any, tuple[bool, Job]] = {}
    for run in runs:
        began = bound.get(groups.whole(run.folder))
        maker = makes.setdefault(repr(twins.training(run.config)), run)
        if began:
            own = [by_folder[path] if path in by_folder else _other(path) for path in began]
            found[tuple(began)] = (True, [run for run in own if run])
        elif (
            mode == "off"
            or claims.holder(run.folder)  # another process trains it
            or maker is not run
            or twins.ended_twin(run.config, run.folder)
        ):
            found[run.folder] = (False, [run])
        else:
            key = repr(signature(run.config))
            found.setdefault(key, (False, []))[1].append(run)
    for begun, group in found.values():
        parts = 1 if begun or not members else -(-len(group) // members)
        for i in range(parts):
            yield begun, group[len(group) * i // parts : len(group) * (i + 1) // parts]


def _bound(folders: Iterable[Path]) -> dict[Path, list[Path]]:
    """The group of each run that goes on with one; that of a member whose folder was emptied, and
    tells nothing of it any more, is where the others have it."""
    own = {folder: group for folder in folders if (group := groups.group_of(folder))}
    return {member: group for group in own.values() for member in group} | own


def _other(folder: Path) -> Run | None:
    """A member that is done, or no longer part of the sweep: its lane is needed all the same.

    None where it was deleted: the process that is to train the others says what can be done.
    """
    if not (folder / "config.json").exists():
        return None
    config = configs.read(folder / "config.json")
    return Run(folder.parent.name, config.seed, folder, config)


def measure_in_child(runs: Sequence[Run], flags: Sequence[str] = ()) -> dict[str, Any]:
    """What the runs take, measured in a process of its own; their folders stay as they are."""
    with tempfile.TemporaryDirectory() as temporary:
        folders = [Path(temporary) / str(i) for i in range(len(runs))]
        for folder, run in zip(folders, runs, strict=True):
            folder.mkdir()
            configs.save(run.config, folder / "config.json")
        command = [*child.train_command(folders, flags), "--measure"]
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env=child.environment(),
        )
    if ended.returncode:
        lines = ended.stderr.strip().splitlines() or [f"exit status {ended.returncode}"]
        raise MeasureError(lines[-1])
    return json.loads(ended.stdout.splitlines()[-1])


def speedup(cost: Mapping[str, Any]) -> float:
    """How many times faster all runs are together than one after another."""
    return cost["members"] * cost["alone"]["seconds"] / cost["together"]["seconds"]


def describe(found: Sequence[Group]) -> str:
    """How many programs there are, and of each group what it costs; the totals as far as known."""
    runs = sum(len(group.runs) for group in found)
    jobs = [job for group in found for job in group.jobs]
    lines = [f"{_count(runs, 'run')} in {_count(len(jobs), 'program')}{_totals(found)}"]
    for group in found:
        if len(group.runs) > 1:
            how = "together" if group.together else "one after another"
            why = f": {group.why}" if group.why else ""
            lines.append(f"  {child.name(group.runs)}: {how}{why}{_cost(group)}")
    return "\n".join(lines)


def _totals(found: Sequence[Group]) -> str:
    known = [group for group in found if group.cost]
    if not known:
        return ""
    compilations = seconds = memory = 0
    for group in known:
        own = group.cost["together" if group.together else "alone"]
        compilations += group.cost["compilations"] * len(group.jobs)
        seconds += own["total_seconds"]
        memory = max(memory, own["bytes"])
    which = "" if len(known) == len(found) else " (those that were measured)"
    return (
        f", {_count(compilations, 'compilation')} of the step, about {clock(seconds)} of updates, "
        f"no program above {memory / 2**20:,.0f} MiB{which}"
    )


def _cost(group: Group) -> str:
    if not group.cost:
        return ""
    alone, together = group.cost["alone"]["seconds"], group.cost["together"]["seconds"]
    return (
        f" ({together * 1e3:.1f} ms for an update of all, {alone * 1e3:.1f} ms for one of one: "
        f"{speedup(group.cost):.2f} times as fast)"
    )


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"
