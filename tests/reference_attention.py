"""Attention in NumPy float64, for one example: scores, memory terms, windows, heads, as written.

Loops over positions, as the papers define them; nothing is shared with the package. `p` holds
the parameters by their names there, one head at a time.
"""

import numpy as np

from tests.reference import CELLS, sigmoid, softmax

# Scores: (query, memory vector, parameters, position, what a memory term adds) -> a number.


def dot(query, memory, p, s, extra=0.0):
    """Luong et al. (2015), section 3.1."""
    return query @ (memory + extra)


def scaled_dot(query, memory, p, s, extra=0.0):
    """Vaswani et al. (2017), eq. 1, the factor a parameter where there is one."""
    scale = p["scale"] if p and "scale" in p else 1 / np.sqrt(len(memory))
    return scale * query @ (memory + extra)


def cosine(query, memory, p, s, extra=0.0):
    """Graves et al. (2014), eq. 5-6."""
    strength = p["scale"] if p and "scale" in p else 1.0
    return strength * query / np.linalg.norm(query) @ (memory / np.linalg.norm(memory) + extra)


def general(query, memory, p, s, extra=0.0):
    """Luong et al. (2015), section 3.1: h_t^T W_a m_s; the kernel is W_a^T for row vectors."""
    return query @ (p["memory"]["kernel"].T @ memory + extra)


def biaffine(query, memory, p, s, extra=None):
    """Dozat & Manning (2017), section 2.2; a memory term adds to U m and to w_m . m."""
    extra = np.zeros(len(query) + 1) if extra is None else extra
    bilinear = query @ (p["memory"]["kernel"].T @ memory + extra[:-1])
    w_h, w_m = p["query_vector"][:, 0], p["memory_vector"][:, 0]
    return bilinear + w_h @ query + w_m @ memory + extra[-1]


def linear(query, memory, p, s, extra=0.0):
    """Seo et al. (2017), eq. 1: one vector on [h; m; h * m]."""
    vectors = [p[f"{name}_vector"][:, 0] for name in ("query", "memory", "product")]
    memory = memory + extra
    return np.concatenate(vectors) @ np.concatenate([query, memory, query * memory])


def concat(query, memory, p, s, extra=0.0):
    """Luong et al. (2015), section 3.1: v_a^T tanh(W_a [h_t; m_s])."""
    W_a = np.concatenate([p["query"]["kernel"], p["memory"]["kernel"]])
    return p["vector"][:, 0] @ np.tanh(np.concatenate([query, memory]) @ W_a + extra)


def normed_concat(query, memory, p, s, extra=0.0):
    """Raffel et al. (2017), eq. 16 without r: v is replaced by g v / |v|."""
    v = p["scale"] * p["vector"] / np.linalg.norm(p["vector"])
    return concat(query, memory, p | {"vector": v}, s, extra)


def location(query, memory, p, s, extra=0.0):
    """Luong et al. (2015), eq. 8: entry s of W_a h_t, the last one for positions behind."""
    outputs = query @ p["query"]["kernel"]
    return outputs[min(s, len(outputs) - 1)]


SCORES = {
    "dot": dot,
    "scaled_dot": scaled_dot,
    "cosine": cosine,
    "general": general,
    "biaffine": biaffine,
    "linear": linear,
    "concat": concat,
    "normed_concat": normed_concat,
    "location": location,
}


def term(name, p, alignment_S, coverage_S, s):
    """U f_s: Chorowski et al. (2015), eq. 8-9; See et al. (2017), eq. 10-11."""
    if name == "coverage":
        f = coverage_S[s : s + 1]
    else:
        filters_RF = p["filters"]
        middle = (len(filters_RF) - 1) // 2
        f = np.zeros(filters_RF.shape[1])
        for r, weights_F in enumerate(filters_RF):
            if 0 <= s + r - middle < len(alignment_S):
                f = f + weights_F * alignment_S[s + r - middle]
    return f @ p["key"]["kernel"]


def local_m(score_S, query, p, t, D):
    """Luong et al. (2015), section 3.2; the window stays at the last word behind the end."""
    centre = min(t, len(score_S) - 1)
    inside = np.abs(np.arange(len(score_S)) - centre) <= D
    alignment_S = np.zeros(len(score_S))
    alignment_S[inside] = softmax(score_S[inside])
    return alignment_S


def local_p(score_S, query, p, t, D):
    """Luong et al. (2015), eq. 9-10, with sigma = D / 2."""
    S = len(score_S)
    centre = S * sigmoid(p["vector"][:, 0] @ np.tanh(query @ p["query"]["kernel"]))
    inside = np.abs(np.arange(S) - centre) <= D
    alignment_S = np.zeros(S)
    alignment_S[inside] = softmax(score_S[inside])
    return alignment_S * np.exp(-((np.arange(S) - centre) ** 2) / (2 * (D / 2) ** 2))


def monotonic_soft(score_S, r, previous_S):
    """Raffel et al. (2017), eq. 9: all ways to have stood at k and to stop at j, summed up."""
    p_S = sigmoid(score_S + r)
    alignment_S = np.zeros(len(p_S))
    for j in range(len(p_S)):
        for k in range(j + 1):
            alignment_S[j] += p_S[j] * previous_S[k] * np.prod(1 - p_S[k:j])
    return alignment_S


def monotonic_hard(score_S, r, previous_S):
    """Raffel et al. (2017), algorithm 1: the first position from the last one on that stops."""
    alignment_S = np.zeros(len(score_S))
    if previous_S.any():
        for j in range(previous_S.argmax(), len(score_S)):
            if sigmoid(score_S[j] + r) > 0.5:
                alignment_S[j] = 1.0
                break
    return alignment_S


def chunks(position_S, chunk_score_S, w):
    """Chiu & Raffel (2018), eq. 21-23: a softmax over the w positions up to each stop."""
    alignment_S = np.zeros(len(position_S))
    for k, weight in enumerate(position_S):
        first = max(0, k - w + 1)
        alignment_S[first : k + 1] += weight * softmax(chunk_score_S[first : k + 1])
    return alignment_S


def head(settings, p, query, memory_SM, state, soft):
    """(alignment, position) of one head: `state` is (alignment, coverage, position, t)."""
    alignment_S, coverage_S, position_S, t = state
    extras = [{} for _ in memory_SM]
    if settings["memory_term"] != "none":
        for s in range(len(memory_SM)):
            added = term(settings["memory_term"], p["term"], alignment_S, coverage_S, s)
            extras[s] = {"extra": added}

    def scores(p):
        score = SCORES[settings["score"]]
        return np.array([score(query, m, p, s, **extras[s]) for s, m in enumerate(memory_SM)])

    score_S = scores(p.get("score")) / settings["temperature"]
    window, p_window = settings["window"], p.get("window", {})
    if window == "global":
        return softmax(score_S), None
    if window in ("local_m", "local_p"):
        local = {"local_m": local_m, "local_p": local_p}[window]
        return local(score_S, query, p_window, t, settings["window_width"]), None
    # The temperature divides in front of the normaliser, which stops do not use.
    move = monotonic_soft if soft else monotonic_hard
    stops_S = move(score_S * settings["temperature"], p_window["offset"], position_S)
    if window == "monotonic":
        return stops_S, stops_S
    extras = [{} for _ in memory_SM]  # the chunk's own score has no memory term
    chunk_S = scores(p_window.get("score")) / settings["temperature"]
    return chunks(stops_S, chunk_S, settings["chunk_width"]), stops_S


def attend(settings, p, query, memory_SM, states, soft=False):
    """(context, states of the heads): Vaswani et al. (2017), section 3.2.2, where N > 1."""
    N = settings["heads"]
    queries, memories, values = query, memory_SM, memory_SM
    if N > 1:
        queries, values = query @ p["query"]["kernel"], memory_SM @ p["value"]["kernel"]
        if settings["score"] != "location":  # which looks at no memory
            memories = memory_SM @ p["memory"]["kernel"]
    contexts, after = [], []
    for n in range(N):
        p_head = _take(p.get("head", {}), n)
        alignment_S, position_S = head(
            settings,
            p_head,
            np.split(queries, N)[n],
            np.split(memories, N, axis=1)[n],
            states[n],
            soft,
        )
        contexts.append(alignment_S @ np.split(values, N, axis=1)[n])
        coverage_S = states[n][1] + alignment_S
        after.append((alignment_S, coverage_S, position_S, states[n][3] + 1))
    context = np.concatenate(contexts)
    return (context @ p["output"]["kernel"] if N > 1 else context), after


def start(settings, positions):
    """Nothing attended to, a reader at the first position."""
    first_S = np.eye(positions)[0] if positions else np.zeros(0)
    return [(np.zeros(positions), np.zeros(positions), first_S, 0)] * settings["heads"]


def _take(tree, n):
    """Head n of arrays that are stacked."""
    return {k: _take(v, n) if isinstance(v, dict) else v[n] for k, v in tree.items()}


SETTINGS = {
    "score": "general",
    "window": "global",
    "memory_term": "none",
    "heads": 1,
    "temperature": 1.0,
    "window_width": 10,
    "chunk_width": 4,
}


def decode(p, carries, tokens, memory_SM, summary_M, settings):
    """(logits, alignments) of a decoder that is fed `tokens`; no dropout.

    luong (Luong et al. 2015, eq. 5-7, section 3.3): h_t = f(h_{t-1}, x_t), c_t = attend(h_t).
    bahdanau (2015, eq. 4-6): c_t = attend(h_{t-1}), h_t = f(h_{t-1}, [x_t; c_t]).
    gnmt (Wu et al. 2016, section 3): c_t = attend(h^1_{t-1}), fed to the update of every layer.
    none: initial (Sutskever et al. 2014) has no c_t; every_input (Cho et al. 2014) c_t = summary.
    """
    settings = SETTINGS | settings
    order, score = settings["order"], settings["score"]
    states = start(settings, len(memory_SM))
    outputs = [carry[0] for carry in carries]
    attentional = np.zeros(p["combine"]["kernel"].shape[1])
    logits, alignments = [], []

    def attend_with(query):
        nonlocal states
        if score == "none":
            return summary_M if settings["fixed"] == "every_input" else np.zeros(0)
        context, states = attend(settings, p.get("attention", {}), query, memory_SM, states)
        return context

    for token in tokens:
        x = p["embedding"]["table"][token]
        fed = x = np.concatenate([x, attentional]) if settings["feeding"] else x
        before = order != "luong" or score == "none"
        if before:
            context = attend_with(outputs[0] if order == "gnmt" else outputs[-1])
        for layer in range(len(carries)):
            if before and (layer == 0 or order == "gnmt"):
                x = np.concatenate([x, context])
            cell = CELLS[settings["cell"]]
            carries[layer] = cell(carries[layer], x, p["cells"][str(layer)])
            below = outputs[layer - 1] if settings["residual"] and layer else 0.0
            outputs[layer] = x = carries[layer][0] + below
        if not before:
            context = attend_with(x)
        attentional = np.tanh(_mix(p, settings["gate"], fed, x, context))
        logits.append(attentional @ p["output"]["kernel"] + p["output_bias"])
        alignments.append([state[0] for state in states])
    return np.array(logits), np.array(alignments)


def _mix(p, gate, fed, h, context):
    """W_c [c; h] (Luong et al. 2015, eq. 5), its parts weighed by Tu et al.'s (2017) gate."""
    W_1, W_2 = np.split(p["combine"]["kernel"], [len(context)])
    g_1 = g_2 = 1.0
    if gate != "none":
        z = sigmoid(np.concatenate([fed, h, context]) @ p["gate"]["kernel"] + p["gate"]["bias"])
        g_1 = z if gate in ("source", "both") else 1.0
        g_2 = {"source": 1.0, "target": z, "both": 1 - z}[gate]
    return g_1 * (context @ W_1) + g_2 * (h @ W_2)
