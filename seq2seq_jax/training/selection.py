"""What the evaluations decide: the best step, cuts of the learning rate, early stopping."""

import dataclasses

import ml_collections

from seq2seq_jax.types import InputError

LOWER_IS_BETTER = ("loss", "perplexity", "perplexity_free", "aer", "error_rate")


def improves(name: str, value: float, best: float | None) -> bool:
    """Whether `value` of the metric `name` ("valid/bleu") beats `best`; NaN never does."""
    if best is None:
        return value == value
    return value < best if name.split("/")[-1].endswith(LOWER_IS_BETTER) else value > best


@dataclasses.dataclass
class Plateau:
    """Factor on the learning rate, cut after evaluations without improvement.

    After `patience` of them in a row the factor is multiplied by `factor`, and counting begins
    anew.
    """

    patience: int
    factor: float
    scale: float = 1.0
    waited: int = 0

    def update(self, improved: bool) -> None:
        self.waited = 0 if improved else self.waited + 1
        if self.waited >= self.patience:
            self.scale, self.waited = self.scale * self.factor, 0


class Selection:
    """The best evaluation so far, and what follows from the others. Saved with a checkpoint."""

    def __init__(self, train: ml_collections.ConfigDict):
        self.metric = train.best_metric
        self.patience = train.patience
        self.best: float | None = None
        self.best_step = -1
        self.stale = 0  # evaluations since the best one
        self.plateau = Plateau(train.plateau_patience, train.plateau_factor)
        self.uses_plateau = train.schedule == "plateau"

    @property
    def rate_scale(self) -> float:
        return self.plateau.scale if self.uses_plateau else 1.0

    @property
    def finished(self) -> bool:
        """Whether early stopping ends the run here."""
        return 0 < self.patience <= self.stale

    def update(self, step: int, metrics: dict[str, float]) -> bool:
        """Takes in an evaluation; True where it is the best one so far."""
        if self.metric not in metrics:
            known = ", ".join(sorted(metrics))
            raise InputError(
                f"train.best_metric is {self.metric!r}, which no evaluation gave; "
                f"with these evaluation.modes there are: {known}"
            )
        value = float(metrics[self.metric])
        improved = improves(self.metric, value, self.best)
        self.plateau.update(improved)
        if improved:
            self.best, self.best_step, self.stale = value, step, 0
        else:
            self.stale += 1
        return improved

    def state(self) -> dict:
        return {
            "best": self.best,
            "best_step": self.best_step,
            "stale": self.stale,
            "plateau": {"scale": self.plateau.scale, "waited": self.plateau.waited},
        }

    def restore(self, state: dict) -> None:
        self.best, self.best_step = state["best"], state["best_step"]
        self.stale = state["stale"]
        self.plateau.scale = state["plateau"]["scale"]
        self.plateau.waited = state["plateau"]["waited"]
