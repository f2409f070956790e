"""The rows of `published.csv` and the cells of `configs/luong2015.py` that answer them."""

TITLE = "Luong et al. 2015, tables 1 and 4"
NOTES = (
    "Ours on Multi30k, the published numbers on WMT'14: compare the order of the rows alone.",
    "The paper counts BLEU on tokens, with case.",
)
ROWS = {
    "base": "base",
    "base + reverse": "base+reverse",
    "base + reverse + dropout": "base+reverse+dropout",
    "... + global (location)": "base+reverse+dropout+location",
    "... + global (location) + feed input": "window=global,score=location",
    "... + local-p (general) + feed input": "window=local_p,score=general",
    "... + unk replace": None,
    "ensemble of 8 + unk replace": None,
    "global (location)": "window=global,score=location",
    "global (dot)": "window=global,score=dot",
    "global (general)": "window=global,score=general",
    "global (concat)": "window=global,score=concat",
    "local-m (dot)": "window=local_m,score=dot",
    "local-m (general)": "window=local_m,score=general",
    "local-m (concat)": "window=local_m,score=concat",
    "local-p (dot)": "window=local_p,score=dot",
    "local-p (general)": "window=local_p,score=general",
    "local-p (concat)": "window=local_p,score=concat",
}
COLUMNS = (
    "bleu",
    "perplexity",
)
