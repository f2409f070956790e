"""The rows of `published.csv` and the cells of `configs/luong2015.py` that answer them."""

TITLE = "Luong et al. 2015, tables 1 and 4"
NOTES = (
    "Ours on Multi30k, the published numbers on WMT'14: compare the order of the rows alone.",
    "The paper counts BLEU on tokens, with case.",
)
COMPARABLE = False
ROWS = {
    "Base": "base",
    "Base + reverse": "base+reverse",
    "Base + reverse + dropout": "base+reverse+dropout",
    "... + global (location)": "base+reverse+dropout+location",
    "... + global (location) + feed input": "global-location",
    "... + local-p (general) + feed input": "local_p-general",
    "... + unk replace": "local_p-general+unk",
    "ensemble of 8 + unk replace": "ensemble",
    "global (location)": "global-location",
    "global (dot)": "global-dot",
    "global (general)": "global-general",
    "global (concat)": "global-concat",
    "local-m (dot)": "local_m-dot",
    "local-m (general)": "local_m-general",
    "local-m (concat)": "local_m-concat",
    "local-p (dot)": "local_p-dot",
    "local-p (general)": "local_p-general",
    "local-p (concat)": "local_p-concat",
}
COLUMNS = (
    "bleu",
    "perplexity",
)
