"""The rows of `published.csv` and the cells of `configs/multi30k.py` that answer them."""

TITLE = "Multi30k, German to English, test 2016"
NOTES = (
    "The published BLEU is not sacrebleu's, and its tokens are spaCy's.",
    "The tutorial's recurrent models trained at ratio 0.5, ours at 1: see the perplexity (free).",
)
ROWS = {
    "tutorial 1: LSTM, 2 layers": None,
    "tutorial 2: GRU, context at every step": "none",
    "dot": "dot",
    "general": "general",
    "concat": "concat",
    "general, input feeding": "general+feeding",
    "tutorial 3: bidirectional GRU, additive attention": "concat+bahdanau",
    "tutorial 4: the same, padding masked": None,
    "tutorial 5: convolutions": None,
    "tutorial 6: Transformer": "transformer",
    "msarmi9: GRU, additive attention, sentencepiece": None,
}
COLUMNS = (
    "bleu",
    "bleu_beam",
    "perplexity",
    "perplexity_free",
    "exact_match",
)
