"""The rows of `published.csv` and the cells of `configs/g2p.py` that answer them."""

TITLE = "Letters to phonemes: CMUdict, the PRONASYL-2007 split"
NOTES = (
    "Token error rate: PER; sequence error rate: WER; the closest pronunciation counts.",
    "Our ensemble is of five kinds of attention, the published one of five seeds of one kind.",
)
ROWS = {
    "Yao & Zweig: LSTM, 1 layer, no attention": "none",
    "global (dot)": "dot",
    "global (general)": "general",
    "Toshniwal & Livescu: global": "concat",
    "Toshniwal & Livescu: local-m": "local_m",
    "Toshniwal & Livescu: local-p": "local_p",
    "location-sensitive": "location-sensitive",
    "Yao & Zweig: LSTM, 2 layers, no attention": None,
    "Yao & Zweig: bidirectional LSTM on alignments, 3 layers": None,
    "Toshniwal & Livescu: ensemble of 5 global": "ensemble",
    "Rao et al.: DBLSTM-CTC": None,
    "Rao et al.: DBLSTM-CTC and 5-gram FST": None,
    "Mousa & Schuller: deep BLSTM on alignments": None,
    "Milde et al.: multitask sequence to sequence": None,
    "Phonetisaurus, WFST": None,
    "g2p-seq2seq, Transformer, 3 layers of 256": None,
}
COLUMNS = (
    "token_error_rate",
    "sequence_error_rate",
    "exact_match",
)
