"""The flags of `translate` and `evaluate`: which models, and how to search."""

from absl import flags

from seq2seq_jax.commands.common import UsageError

# Flags that stand for keys of the config's part `evaluation`.
KEYS = {
    "beam": "K of beam search; 1 is greedy search.",
    "length_penalty": "What log p is divided by: none, average, power or gnmt.",
    "length_alpha": "Exponent of the length penalties power and gnmt.",
    "coverage_penalty": "Weight of the coverage penalty of gnmt.",
    "min_length": "Tokens before the end token, at least.",
    "block_ngrams": "So many tokens do not occur twice in a translation; 0: they may.",
    "max_length_factor": "A translation ends at factor * source tokens + extra.",
    "max_length_extra": "See max_length_factor.",
    "batch_size": "Sentences searched at once.",
    "unknown": "Whether <unk> may be chosen.",
    "replace_unknown": "Put the source word that was attended most in the place of <unk>.",
}
RANKING = ("length_penalty", "length_alpha", "coverage_penalty", "min_length", "block_ngrams")
BOOLEAN = ("unknown", "replace_unknown")
WHOLE = ("beam", "min_length", "block_ngrams", "max_length_extra", "batch_size")


def define(values: flags.FlagValues) -> None:
    flags.DEFINE_multi_string(
        "workdir",
        [],
        "Folder of a run; given several times, the runs are an ensemble.",
        flag_values=values,
    )
    flags.DEFINE_integer(
        "average",
        1,
        "Average the parameters of so many newest checkpoints instead of taking the best ones.",
        1,
        flag_values=values,
    )
    for name, help_text in KEYS.items():
        text = f"{help_text} Without it, as the config says."
        if name == "length_penalty":
            flags.DEFINE_string(name, None, text, flag_values=values)
        elif name in BOOLEAN:
            flags.DEFINE_boolean(name, None, text, flag_values=values)
        elif name in WHOLE:
            flags.DEFINE_integer(name, None, text, 0, flag_values=values)
        else:
            flags.DEFINE_float(name, None, text, flag_values=values)


def check(values: flags.FlagValues, *, beam: bool) -> None:
    """UsageError for flags that rank hypotheses where no beam search is made."""
    given = [name for name in RANKING if values[name].present]
    if given and not beam:
        raise UsageError(f"--{given[0]} is for beam search, as with --beam=5")


def load(values: flags.FlagValues):
    """The run, or the ensemble, that the flags name."""
    from seq2seq_jax.evaluation.ensemble import load_ensemble
    from seq2seq_jax.evaluation.run import load_run

    settings = {name: values[name].value for name in KEYS if values[name].value is not None}
    folders = values.workdir
    if len(folders) == 1:
        return load_run(folders[0], values.average, settings)
    return load_ensemble(folders, values.average, settings)
