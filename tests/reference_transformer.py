"""The Transformer in NumPy float64, for one example, position by position, as the papers write it.

Nothing here imports the package. Padding, batches and caches do not exist here.
"""

import numpy as np

from tests import reference, reference_attention


def layer_norm(x, p):
    """Ba et al. (2016), eq. 3-4."""
    deviation = np.sqrt(((x - x.mean()) ** 2).mean() + 1e-6)
    return p["scale"] * (x - x.mean()) / deviation + p["bias"]


def sinusoid(t, width):
    """Vaswani et al. (2017), section 3.5, entry by entry."""
    angles = [t / 10000 ** (2 * (j // 2) / width) for j in range(width)]
    return np.array([np.cos(a) if j % 2 else np.sin(a) for j, a in enumerate(angles)])


def rotation(t, width):
    """Su et al. (2021), eq. 15: the matrix R_t, a turn for each pair of entries."""
    R = np.zeros((width, width))
    for i in range(width // 2):
        a = t * 10000 ** (-2 * i / width)
        R[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]]
    return R


def mlp(x, p):
    """Vaswani et al. (2017), eq. 2, or Shazeer (2020), eq. 6, where there is a third matrix."""
    if "gate" in p:
        gate = x @ p["gate"]["kernel"]
        return (gate * reference.sigmoid(gate) * (x @ p["inner"]["kernel"])) @ p["outer"]["kernel"]
    inner = np.maximum(0, x @ p["inner"]["kernel"] + p["inner"]["bias"])
    return inner @ p["outer"]["kernel"] + p["outer"]["bias"]


def self_attention(t, xs, p, *, heads, rotary, causal):
    """Vaswani et al. (2017), eq. 1 and section 3.2.2: the output at position t."""
    seen = range(t + 1) if causal else range(len(xs))
    joined = []
    for head in np.split(np.arange(len(xs[t])), heads):
        width = len(head)

        def part(name, position, head=head, width=width):
            y = (xs[position] @ p[name]["kernel"])[head]
            return rotation(position, width) @ y if rotary and name != "value" else y

        score = [part("query", t) @ part("key", s) / np.sqrt(width) for s in seen]
        weights = reference.softmax(np.array(score))
        joined.append(sum(w * part("value", s) for w, s in zip(weights, seen, strict=True)))
    return np.concatenate(joined) @ p["output"]["kernel"]


def cross_attention(queries, memory_SM, summary, p, settings):
    """(what is added to each x, alignments of the heads), step after step."""
    if settings["score"] == "none":
        nothing, same = np.zeros((1, len(memory_SM))), summary @ p["context"]["kernel"]
        return [same] * len(queries), [nothing] * len(queries)
    contexts, alignments = [], []
    states = reference_attention.start(settings, len(memory_SM))
    for query in queries:
        context, states = reference_attention.attend(
            settings, p.get("attention", {}), query, memory_SM, states
        )
        contexts.append(context @ p["context"]["kernel"] if "context" in p else context)
        alignments.append([state[0] for state in states])
    return contexts, alignments


def run(p, table, ids, options, memory_SM=None, summary=None):
    """(outputs, last layer's alignments) of a stack that reads `ids`; a decoder has a memory."""
    xs = table[ids]
    if "project" in p:
        xs = xs @ p["project"]["kernel"]
    if options["positions"] == "sinusoidal":
        xs = np.array([x + sinusoid(t, len(x)) for t, x in enumerate(xs)])
    if options["positions"] == "learned":
        rows = p["positions"]["embedding"]["table"]
        xs = np.array([x + rows[min(t, len(rows) - 1)] for t, x in enumerate(xs)])
    pre = options["norm"] == "pre"
    alignments = []

    def residual(xs, norm, sublayer):
        """Section 3.1 of Vaswani et al. (2017), or the norm first (Xiong et al. 2020)."""
        if pre:
            ys = sublayer(np.array([layer_norm(x, norm) for x in xs]))
            return xs + ys
        return np.array([layer_norm(x, norm) for x in xs + sublayer(xs)])

    def attend_self(layer, xs):
        more = {"heads": options["heads"], "rotary": options["positions"] == "rotary"}
        more["causal"] = memory_SM is not None
        p = layer["self_attention"]
        return np.array([self_attention(t, xs, p, **more) for t in range(len(xs))])

    def attend_memory(layer, xs):
        settings = reference_attention.SETTINGS | options["attention"]
        p = layer["cross_attention"]
        ys, alignments[:] = cross_attention(xs, memory_SM, summary, p, settings)
        return np.array(ys)

    for index in range(len(p["layers"])):
        layer = p["layers"][str(index)]
        xs = residual(xs, layer["self_norm"], lambda xs, p=layer: attend_self(p, xs))
        if memory_SM is not None:
            xs = residual(xs, layer["cross_norm"], lambda xs, p=layer: attend_memory(p, xs))
        inner = layer["mlp"]
        xs = residual(xs, layer["mlp_norm"], lambda xs, p=inner: np.array([mlp(x, p) for x in xs]))
    if pre:
        xs = np.array([layer_norm(x, p["norm"]) for x in xs])
    return xs, np.array(alignments)


def translate(p, source, fed, options):
    """(logits, alignments) of one example, through encoder and decoder."""
    encoder, decoder = p["encoder"], p["decoder"]
    memory_SM, _ = run(encoder["stack"], encoder["embedding"]["table"], source, options)
    summary = memory_SM.mean(axis=0)
    table = decoder["embedding"]["table"]
    xs, alignments = run(decoder["stack"], table, fed, options, memory_SM, summary)
    return xs @ decoder["output"]["kernel"] + decoder["output_bias"], alignments
