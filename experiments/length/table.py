"""The rows of `published.csv` and the cells of `configs/length.py` that answer them."""

TITLE = "Bahdanau et al. 2015: attention and the length of sentences"
NOTES = (
    "The published numbers are for WMT'14: compare the order of the rows alone.",
    "Training has sentences of up to 30 or 50 words there, of up to 10 or of any length here.",
)
COMPARABLE = False
ROWS = {
    "RNNencdec-30": "score=none,max_length=10",
    "RNNsearch-30": "score=concat,max_length=10",
    "RNNencdec-50": "score=none",
    "RNNsearch-50": "score=concat",
    "RNNsearch-50*": None,
    "Moses": None,
    "dot": "score=dot",
    "scaled_dot": "score=scaled_dot",
    "cosine": "score=cosine",
    "general": "score=general",
    "biaffine": "score=biaffine",
    "linear": "score=linear",
    "normed_concat": "score=normed_concat",
    "location": "score=location",
}
COLUMNS = (
    "bleu",
    "exact_match",
    "perplexity",
)
