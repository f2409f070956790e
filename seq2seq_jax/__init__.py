"""Attention-based sequence-to-sequence models in JAX and Flax, for comparing their variants."""

__version__ = "0.1.0"
__all__ = ["BeamSearch", "Sample", "load_ensemble", "load_run", "train"]


def __getattr__(name: str):
    # Late: importing the package must not import JAX, which takes seconds.
    if name in __all__:
        from seq2seq_jax.evaluation import ensemble, run  # run has the strategies of search too

        return getattr(ensemble if name == "load_ensemble" else run, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
