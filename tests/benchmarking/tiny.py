"""A workload that compiles and runs in a moment."""

# Keys of the config, for any recurrent workload.
TINY = {
    "data.batch_size": 8,
    "data.buckets": 1,
    "model.embedding": 3,
    "model.encoder.width": 4,
    "model.encoder.bidirectional": False,
    "model.decoder.width": 4,
    "model.encoder.cell": "elman",
    "model.decoder.cell": "elman",
    "train.optimizer": "sgd",
    "evaluation.batch_size": 8,
    "evaluation.max_length_factor": 0.0,
    "evaluation.max_length_extra": 5,
}
