"""Every key there is, with its unit or allowed values.

Experiment files assign to existing keys and never add one: the config comes locked, so a typo is an
error. Ranges, choices and the rules between keys are checked by `seq2seq_jax.config.validate`.
"""

import ml_collections


def _side() -> ml_collections.ConfigDict:
    """How the text of one side, source or target, becomes ids."""
    side = ml_collections.ConfigDict()
    side.tokens = "space"  # space | word | character | unigram | bpe (the last two: sentencepiece)
    side.lowercase = False
    side.unicode = "nfc"  # none | nfc | nfkc: Unicode normalisation
    side.min_frequency = 1  # rarer tokens become <unk> (space, word, character)
    side.max_vocabulary = 0  # tokens kept, most frequent first; 0 = all; pieces for unigram, bpe
    side.max_length = 0  # tokens; longer training examples are left out, counted; 0 = no limit
    return side


def get_config() -> ml_collections.ConfigDict:
    config = ml_collections.ConfigDict()
    config.seed = 0  # root of every random choice except the generated data

    data = config.data = ml_collections.ConfigDict()
    data.name = "french"  # a task of data/tasks, text, or tfds:NAME[/CONFIG]
    data.dir = ""  # folder with the files (text), or manual folder of a builder (tfds)
    data.train = ""  # text: "train.de.gz train.en.gz" (parallel files) or "pairs.tsv"
    data.valid = ""  # likewise; empty: data.valid_size pairs are held out of train
    data.test = ""  # likewise; empty: data.test_size pairs are held out of train
    # A third parallel file has gold links, as "0-0 1-2 2p1" (p: possible): "a.de a.en a.links".
    # A name with spaces stands in double quotes: '"my text.de" "my text.en"'.
    data.columns = (0, 1)  # TSV: columns of source and target; or feature names (tfds: (): found)
    data.seed = 0  # of generated data, of the random hold-out, of a shared order
    data.train_size = 0  # pairs; 0 = all of what is given, the task's own default (tasks)
    data.valid_size = 0  # likewise; of text that names no file: pairs to hold out, above 0
    data.test_size = 0  # likewise; of text that names no file: 0 = 5 % of train, 1,000 at most
    data.task = ml_collections.ConfigDict()  # options of the generated tasks
    data.task.min_length = 0  # tokens of the source; 0 = the task's own default
    data.task.max_length = 0  # tokens of the source; 0 = the task's own default
    data.task.symbols = 0  # copy, reverse, sort: alphabet size; addition: base; 0 = default
    data.task.split = "simple"  # scan: simple | length | addprim_jump | addprim_turn_left
    data.source = _side()
    data.target = _side()
    data.joint_vocabulary = False  # one vocabulary for both sides, by the options of the source
    data.batch_size = 64  # sentences, over all devices
    data.buckets = 4  # batch shapes at most; many make batches of like lengths: benchmarks/tried.md
    data.order = "seed"  # seed | shared: of the batches, by the root seed or by data.seed
    data.workers = 0  # worker processes that prepare batches; 0 = this process does
    data.prefetch = 16  # batches prepared ahead, by workers or, beside an accelerator, by threads

    model = config.model = ml_collections.ConfigDict()
    model.embedding = 64  # E
    model.dtype = "float32"  # float32 | bfloat16: of the products; parameters stay float32
    model.tied_embeddings = "none"  # none | output (target in = out) | all (source too, joint only)
    model.dropout = ml_collections.ConfigDict()
    model.dropout.input = 0.0  # on embeddings
    model.dropout.output = 0.0  # on recurrent layers and the readout; on Transformer sublayers
    model.dropout.same_over_time = False  # one mask a sequence (Gal & Ghahramani 2016)
    model.encoder = ml_collections.ConfigDict()
    model.encoder.kind = "recurrent"  # recurrent | transformer, which reads width and layers alone
    model.encoder.cell = "gru"  # elman | gru | lstm
    model.encoder.kernel = "scan"  # scan | cudnn: lstm, float32 and one NVIDIA GPU; same parameters
    model.encoder.width = 128  # units a direction; M = width, twice that if bidirectional
    model.encoder.layers = 1
    model.encoder.bidirectional = True
    model.encoder.residual = False  # from the second layer on
    model.encoder.reverse_source = False  # Sutskever et al. 2014
    model.decoder = ml_collections.ConfigDict()
    model.decoder.kind = "recurrent"  # recurrent | transformer, which reads width and layers alone
    model.decoder.cell = "gru"  # elman | gru | lstm
    model.decoder.width = 128  # H
    model.decoder.layers = 1
    model.decoder.residual = False  # from the second layer on
    model.decoder.initial_state = "bridge"  # zero | last | bridge (tanh of a linear map)
    model.decoder.order = "luong"  # luong: update, attend | bahdanau: attend, update | gnmt
    model.decoder.context_gate = "none"  # none | source | target | both: what it weighs
    model.decoder.input_feeding = False  # join the previous attentional state to the input
    model.attention = ml_collections.ConfigDict()
    model.attention.score = "general"  # none | a name of models/attention/scores.py
    model.attention.width = 128  # A: score space of concat; hidden units of local_p
    model.attention.match_parameters = False  # every score as large as concat with this width
    model.attention.heads = 1  # N; more than one project query, memory and context
    model.attention.window = "global"  # global | local_m | local_p | monotonic | chunkwise
    model.attention.normalizer = "softmax"  # a name of models/attention/normalizers.py
    model.attention.memory_term = "none"  # none | location | coverage: added to the keys
    model.attention.temperature = 1.0  # divides the scores; 1e-6 at least
    model.attention.fixed_context = "initial"  # score none: initial (state only) | every_input
    model.attention.scale = "fixed"  # fixed | learned: of scaled_dot and cosine
    model.attention.max_positions = 64  # score location: source positions told apart
    model.attention.window_width = 10  # D: local windows reach from -D to D; local_p: sigma = D/2
    model.attention.chunk_width = 4  # chunkwise: positions
    model.attention.monotonic_offset = -1.0  # initial r of monotonic and chunkwise
    model.attention.location_filters = 10  # memory term location: filters
    model.attention.location_width = 5  # memory term location: source positions a filter sees
    model.transformer = ml_collections.ConfigDict()  # of each side whose kind is transformer
    model.transformer.heads = 4  # of self-attention; that to the memory has attention.heads
    model.transformer.mlp_width = 512  # hidden units
    model.transformer.norm = "pre"  # pre | post: before a sublayer, or after the sum with it
    model.transformer.positions = "sinusoidal"  # sinusoidal | learned | rotary
    model.transformer.activation = "relu"  # relu | gated (SwiGLU: a third matrix)
    model.transformer.max_positions = 256  # positions learned: those told apart
    model.forget_bias = 1.0  # lstm: initial bias of the forget gate

    train = config.train = ml_collections.ConfigDict()
    train.steps = 0  # updates; exactly one of steps and epochs is positive
    train.epochs = 10.0  # passes over the training split
    train.optimizer = "adam"  # adam | sgd | adadelta
    train.learning_rate = 1e-3  # the schedule's peak
    train.schedule = "constant"  # constant | linear | cosine | inverse_sqrt | halving | plateau
    train.warmup_steps = 0  # updates, linear up to the rate; also inverse_sqrt's reference step
    train.halving_start = 0.5  # halving: fraction of the run after which it begins
    train.halving_every = 0.1  # halving: fraction of the run between halvings
    train.plateau_patience = 3  # plateau: evaluations without improvement before a cut
    train.plateau_factor = 0.5
    train.adam_b1 = 0.9
    train.adam_b2 = 0.999
    train.momentum = 0.0  # sgd
    train.weight_decay = 0.0  # decoupled, times the learning rate
    train.clip_norm = 1.0  # global gradient norm; 0 = no clipping
    train.label_smoothing = 0.0
    train.coverage_loss = 0.0  # weight of See et al.'s (2017) coverage loss; 0 = none
    train.guided_alignment = 0.0  # weight of attention's cross-entropy to gold links; 0 = none
    train.accumulation = 1  # micro-batches an update; divides the batch size
    train.ema_decay = 0.0  # exponential moving average of the parameters, evaluated; 0 = none
    train.log_every = 50  # updates
    train.eval_every = 200  # updates; checkpoints are written then too
    # Chooses the best checkpoint; early stopping and plateau: valid/loss | perplexity |
    # perplexity_free | token_accuracy | exact_match | bleu | chrf | aer.
    train.best_metric = "valid/loss"
    train.patience = 0  # evaluations without improvement before stopping; 0 = never
    train.keep_checkpoints = 2  # newest ones kept, besides the best and what a signal asked for

    forcing = config.teacher_forcing = ml_collections.ConfigDict()
    forcing.ratio = 1.0  # P(gold token is fed); the start of every schedule
    forcing.schedule = "constant"  # constant | linear | exponential | inverse_sigmoid
    forcing.floor = 0.0  # no schedule falls below it
    forcing.decay = 1.0  # linear: fall an update; exponential: k < 1; inverse_sigmoid: k >= 1
    forcing.granularity = "token"  # token | step | sequence | batch: who shares a coin
    # What replaces gold: argmax | sample | uniform (one token), or a mixture of embeddings:
    # gumbel | top_k_mixture | softmax_mixture; docs/teacher_forcing.md has the formulas.
    forcing.feed = "argmax"
    forcing.temperature = 1.0  # divides the logits of what is drawn or mixed; 1e-6 at least
    forcing.top_k = 5  # of top_k_mixture: how many tokens
    forcing.gradient = "none"  # none | through: does the loss reach the prediction that is fed?
    # 0: step by step; k: over the whole target at once, k times to predict and once for the loss.
    forcing.passes = 0

    evaluation = config.evaluation = ml_collections.ConfigDict()
    evaluation.batch_size = 128  # sentences
    # While training, on valid: any of forced, free, greedy, beam.
    evaluation.modes = ("forced", "greedy")
    evaluation.max_examples = 0  # of valid while training; 0 = all
    evaluation.max_length_factor = 2.0  # a search stops at factor * source length + extra tokens
    evaluation.max_length_extra = 10
    evaluation.unknown = True  # whether a search may choose <unk>
    evaluation.replace_unknown = False  # in a test: <unk> becomes the most attended source word
    evaluation.beam = 1  # K of beam search; above 1 the test has the mode beam besides greedy
    # Of beam search, so that these five change nothing where beam is 1.
    evaluation.length_penalty = "none"  # none | average | power | gnmt: what log p is divided by
    evaluation.length_alpha = 1.0  # exponent of power and gnmt, -10 to 10
    evaluation.coverage_penalty = 0.0  # weight of gnmt's coverage penalty
    evaluation.min_length = 0  # tokens before the end token, at least
    evaluation.block_ngrams = 0  # so many tokens do not occur twice; 0 = they may
    evaluation.show = ()  # source sentences whose translation and alignment are reported

    config.sweep = ml_collections.ConfigDict()
    config.sweep.seeds = 1  # seeds a cell, unless --seeds says otherwise
    config.sweep.cell = ""  # what a cell of sweep() is called; empty: by the values that it sets
    config.sweep.baseline = ""  # the cell that reports compare with; empty: the first
    return config.lock()  # a key that is not above cannot be assigned
