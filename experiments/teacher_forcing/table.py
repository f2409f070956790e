"""The rows of `published.csv` and the cells of `configs/teacher_forcing.py` that answer them."""

TITLE = "Bengio et al. 2015: who feeds the decoder in training?"
NOTES = (
    "Published: image captions (Bengio et al.), IWSLT'14 (Texar): compare differences alone.",
    "What the paper calls uniform is disputed; ours feeds random tokens with probability 1/2.",
)
COMPARABLE = False
ROWS = {
    "baseline": "ratio=1.0",
    "always sampling": "ratio=0.0",
    "scheduled sampling": "schedule=inverse_sigmoid",
    "uniform scheduled sampling": "ratio=0.5,feed=uniform",
    "scheduled sampling, linear": "schedule=linear",
    "scheduled sampling, exponential": "schedule=exponential",
    "ratio 0.25": "ratio=0.25",
    "ratio 0.5": "ratio=0.5",
    "ratio 0.75": "ratio=0.75",
    "a coin for each step": "ratio=0.5,granularity=step",
    "a coin for each sequence": "ratio=0.5,granularity=sequence",
    "a coin for each batch": "ratio=0.5,granularity=batch",
    "feed: sample": "ratio=0.5,feed=sample",
    "feed: gumbel": "ratio=0.5,feed=gumbel",
    "feed: top-k mixture": "ratio=0.5,feed=top_k_mixture",
    "feed: softmax mixture": "ratio=0.5,feed=softmax_mixture",
    "Texar: maximum likelihood": None,
    "Texar: scheduled sampling": None,
}
COLUMNS = (
    "bleu",
    "exact_match",
    "perplexity",
    "perplexity_free",
)
