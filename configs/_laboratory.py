"""What the attention experiments share: three data sets, and one model whose parts they exchange.

`french`: the generated French to English, with gold alignments. `g2p`: English words to phonemes,
CMUdict in the PRONASYL-2007 split; its folder has to hold g014b2b.train, .words and .ref.
`tatoeba`: short French sentences to English; its folder has to hold fra.txt.
"""

from configs import default


def base(data: str):
    config = default.get_config()
    config.model.encoder.cell = "lstm"
    config.model.decoder.cell = "lstm"
    config.model.encoder.width = 64  # two directions: M = 128 = H, so that dot is defined
    config.model.decoder.width = 128

    config.train.epochs = 0.0
    config.train.learning_rate = 4e-3
    config.train.schedule = "cosine"

    if data == "french":
        config.data.name = "french"
        config.data.train_size = 60_000
        config.data.buckets = 2
        config.train.steps = 3000
        config.train.eval_every = 500
        config.evaluation.max_examples = 256
        config.evaluation.show = ("je suis étudiant", "les petites filles ne mangent pas le pain")
    elif data == "g2p":
        config.data.name = "tfds:cmudict_g2p"
        config.data.source.tokens = "character"
        config.data.buckets = 2
        config.data.batch_size = 128
        config.train.steps = 1500
        config.train.eval_every = 500
        config.evaluation.max_examples = 1000
        config.evaluation.show = ("STUDENT",)
    elif data == "tatoeba":
        tatoeba(config)
        config.model.embedding = 128
        config.model.dropout.input = 0.1
        config.train.steps = 2800
        config.train.learning_rate = 2e-3
        config.train.warmup_steps = 400
        config.train.eval_every = 700
    else:
        raise ValueError(
            f"{data!r}: this experiment runs on french, g2p or tatoeba, as FILE.py:g2p"
        )
    return config


def tatoeba(config):
    """The data of Tatoeba's pairs: words in lower case, 20 at most."""
    config.data.name = "tfds:tatoeba/fr_en"
    for side in (config.data.source, config.data.target):
        side.tokens = "word"
        side.lowercase = True
        side.min_frequency = 2
        side.max_length = 20
    config.data.train_size = 60_000
    config.data.valid_size = 1000
    config.data.batch_size = 128
    config.evaluation.show = ("je suis étudiant .", "il fait froid aujourd'hui .")
