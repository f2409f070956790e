"""The benchmark's models in PyTorch, as somebody who knows PyTorch well would write them.

`torch_reference.py` beside this file trains them. They are the same functions of their parameters
as the models of this project, and can be given the same ones (`fill`).
"""

import random
from collections import OrderedDict

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

PAD, BOS, EOS = 0, 1, 2


class Model(nn.Module):
    """Embeddings, output layer, teacher forcing and greedy search, which both models share.

    A model has start(source, lengths) -> (memory, state), step(memory, state, embedded token) ->
    (state, readout), and forced(memory, state, embedded tokens) -> readouts.
    """

    def __init__(self, sizes, embedding, width):
        super().__init__()
        self.source_embedding = nn.Embedding(sizes[0], embedding, padding_idx=PAD)
        self.target_embedding = nn.Embedding(sizes[1], embedding, padding_idx=PAD)
        self.output = nn.Linear(width, sizes[1])

    def places(self):
        """Where the benchmark's weights go: the layer, and how its parameters' names end."""
        return {
            "encoder/embedding": (self.source_embedding, ""),
            "decoder/embedding": (self.target_embedding, ""),
            "decoder/output": (self.output, ""),
            "decoder": (self.output, ""),
        }

    def forward(self, source, lengths, target, ratio):
        """Mean cross-entropy of the real tokens. Gold is fed with probability `ratio`, by one coin
        a step for the whole batch, else the most likely token."""
        memory, state = self.start(source, lengths)
        fed = F.pad(target[:, :-1], (1, 0), value=BOS)
        if ratio >= 1:
            readout, real = self.forced(memory, state, self.target_embedding(fed)), target != PAD
            return F.cross_entropy(self.output(readout[real]).float(), target[real])
        token, logits = fed[:, 0], []
        for t in range(target.shape[1]):
            if t > 0:
                token = fed[:, t] if random.random() < ratio else logits[-1].argmax(-1)
            state, readout = self.step(memory, state, self.target_embedding(token))
            logits.append(self.output(readout))
        logits = torch.stack(logits, 1).flatten(0, 1).float()
        return F.cross_entropy(logits, target.flatten(), ignore_index=PAD)

    @torch.inference_mode()
    def greedy(self, source, lengths, limit):
        """The tokens, PAD behind the end of a row, which has `limit` (1 or more) at most."""
        memory, state = self.start(source, lengths)
        token, ended = torch.full_like(limit, BOS), torch.zeros_like(limit, dtype=torch.bool)
        tokens = []
        while not ended.all():
            state, readout = self.step(memory, state, self.target_embedding(token))
            token = self.output(readout).argmax(-1).masked_fill(ended, PAD)
            tokens.append(token)
            ended = ended | (token == EOS) | (limit <= len(tokens))
        return torch.stack(tokens, 1)

    @torch.inference_mode()
    def beam(self, source, lengths, limit, size):
        """The likeliest of `size` hypotheses of each row, as `greedy`. Those that have ended stay
        in the beam, where a further PAD costs nothing."""
        memory, state = self.start(source, lengths)
        memory, state = (
            over_tensors(lambda x: x.repeat_interleave(size, 0), part) for part in (memory, state)
        )
        rows = len(source)
        token, score = torch.full((rows * size,), BOS), torch.full((rows, size), -torch.inf)
        score[:, 0] = 0
        ended = torch.zeros(rows, size, dtype=torch.bool)
        first = torch.arange(rows).unsqueeze(1) * size
        tokens = torch.empty(rows, size, 0, dtype=torch.long)
        only_pad = torch.full((self.output.out_features,), -torch.inf)
        only_pad[PAD] = 0
        while not ended.all():
            state, readout = self.step(memory, state, self.target_embedding(token))
            gain = self.output(readout).float().log_softmax(-1).view(rows, size, -1)
            gain = torch.where(ended.unsqueeze(-1), only_pad, gain)
            score, index = (score.unsqueeze(-1) + gain).flatten(1).topk(size)
            parent, word = index // gain.shape[-1], index % gain.shape[-1]
            chosen = (first + parent).flatten()
            state = over_tensors(lambda x, chosen=chosen: x[chosen], state)
            before = tokens.gather(1, parent.unsqueeze(-1).expand(-1, -1, tokens.shape[2]))
            tokens, token = torch.cat([before, word.unsqueeze(-1)], -1), word.flatten()
            ended = ended.gather(1, parent) | (word == EOS)
            ended |= (limit <= tokens.shape[2]).unsqueeze(1)
        return tokens[torch.arange(rows), score.argmax(-1)]


def over_tensors(function, tree):
    """The same lists and tuples with other tensors; numbers stay."""
    if isinstance(tree, torch.Tensor):
        return function(tree)
    if isinstance(tree, list | tuple):
        return type(tree)(over_tensors(function, part) for part in tree)
    return tree


class Attention(nn.Module):
    """The scores dot, general and concat."""

    def __init__(self, score, query, memory, width):
        super().__init__()
        self.score = score
        if score == "general":
            self.memory = nn.Linear(memory, query, bias=False)
        elif score == "concat":
            self.memory = nn.Linear(memory, width, bias=False)
            self.query = nn.Linear(query, width, bias=False)
            self.vector = nn.Linear(width, 1, bias=False)

    def keys(self, memory):
        return memory if self.score == "dot" else self.memory(memory)

    def forward(self, query, keys, memory, padding):
        if self.score == "concat":
            score = self.vector(torch.tanh(keys + self.query(query).unsqueeze(1))).squeeze(-1)
        else:
            score = torch.bmm(keys, query.unsqueeze(-1)).squeeze(-1)
        weight = score.masked_fill(padding, -torch.inf).softmax(-1)
        return torch.bmm(weight.unsqueeze(1), memory).squeeze(1)


class Recurrent(Model):
    """A packed bidirectional nn.LSTM, and an nn.LSTMCell in a loop over the target."""

    def __init__(self, config, sizes):
        encoder, decoder, attention = (config[key] for key in ("encoder", "decoder", "attention"))
        embedding, width, memory = config["embedding"], decoder["width"], 2 * encoder["width"]
        super().__init__(sizes, embedding, width)
        self.feeding, self.attends_first = decoder["input_feeding"], decoder["order"] == "bahdanau"
        inputs = embedding + self.feeding * width + self.attends_first * memory
        self.encoder = nn.LSTM(embedding, encoder["width"], batch_first=True, bidirectional=True)
        self.bridges = nn.ModuleList(nn.Linear(memory, width) for _ in range(2))
        self.cell = nn.LSTMCell(inputs, width)
        self.attention = Attention(attention["score"], width, memory, attention["width"])
        self.combine = nn.Linear(memory + width, width, bias=False)

    def places(self):
        score = "decoder/attention/head/score"
        linear = {f"{score}/{name}": layer for name, layer in self.attention.named_children()}
        linear |= {f"decoder/initial_state/bridges/0/{i}": b for i, b in enumerate(self.bridges)}
        return {
            **super().places(),
            **{place: (layer, "") for place, layer in linear.items()},
            "decoder/combine": (self.combine, ""),
            "encoder/layers/0/0": (self.encoder, "_l0"),
            "encoder/layers/0/1": (self.encoder, "_l0_reverse"),
            "decoder/cells/0": (self.cell, ""),
        }

    def start(self, source, lengths):
        x = self.source_embedding(source)
        packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
        packed, (final, _) = self.encoder(packed)
        memory, _ = pad_packed_sequence(packed, batch_first=True)
        summary = torch.cat([final[0], final[1]], -1)
        h, c = (torch.tanh(bridge(summary)) for bridge in self.bridges)
        return (self.attention.keys(memory), memory, source == PAD), (h, c, torch.zeros_like(h))

    def step(self, memory, state, x):
        h, c, attentional = state
        if self.feeding:
            x = torch.cat([x, attentional], -1)
        if self.attends_first:
            context = self.attention(h, *memory)
            h, c = self.cell(torch.cat([x, context], -1), (h, c))
        else:
            h, c = self.cell(x, (h, c))
            context = self.attention(h, *memory)
        attentional = torch.tanh(self.combine(torch.cat([context, h], -1)))
        return (h, c, attentional), attentional

    def forced(self, memory, state, x):
        readouts = []
        for now in x.unbind(1):
            state, readout = self.step(memory, state, now)
            readouts.append(readout)
        return torch.stack(readouts, 1)


class MultiHead(nn.Module):
    """Projections around PyTorch's fused attention, which divides by the square root of D."""

    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.query, self.key, self.value, self.output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )

    def split(self, x):
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def look_at(self, x):
        """Keys and values, [B, heads, positions, D]."""
        return self.split(self.key(x)), self.split(self.value(x))

    def forward(self, x, keys, values, **mask):
        y = F.scaled_dot_product_attention(self.split(self.query(x)), keys, values, **mask)
        return self.output(y.transpose(1, 2).flatten(2))


def norm(width):
    return nn.LayerNorm(width, eps=1e-6)


class Layer(nn.Module):
    """Pre-norm, of the encoder or, with `cross_heads` for the memory, of the decoder."""

    def __init__(self, width, heads, hidden, cross_heads=0):
        super().__init__()
        self.self_attention, self.self_norm = MultiHead(width, heads), norm(width)
        if cross_heads:
            self.cross_attention, self.cross_norm = MultiHead(width, cross_heads), norm(width)
        inner, outer = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.mlp = nn.Sequential(OrderedDict(inner=inner, relu=nn.ReLU(), outer=outer))
        self.mlp_norm = norm(width)

    def encode(self, x, valid):
        y = self.self_norm(x)
        x = x + self.self_attention(y, *self.self_attention.look_at(y), attn_mask=valid)
        return x + self.mlp(self.mlp_norm(x))

    def decode(self, x, memory, valid, past):
        """The output, and keys and values of all positions so far; `past` holds those before."""
        y = self.self_norm(x)
        seen = self.self_attention.look_at(y)
        if past:
            seen = tuple(torch.cat([old, new], 2) for old, new in zip(past, seen, strict=True))
        x = x + self.self_attention(y, *seen, is_causal=not past)
        x = x + self.cross_attention(self.cross_norm(x), *memory, attn_mask=valid)
        return x + self.mlp(self.mlp_norm(x)), seen


class Transformer(Model):
    """Sinusoidal positions; a step keeps keys and values of those before it."""

    def __init__(self, config, sizes):
        width, shared = config["embedding"], config["transformer"]
        super().__init__(sizes, width, width)
        layer = width, shared["heads"], shared["mlp_width"]
        self.encoder = nn.ModuleList(Layer(*layer) for _ in range(config["encoder"]["layers"]))
        layer = *layer, config["attention"]["heads"]
        self.decoder = nn.ModuleList(Layer(*layer) for _ in range(config["decoder"]["layers"]))
        self.encoder_norm, self.decoder_norm = norm(width), norm(width)
        rate = 10000.0 ** (-torch.arange(0, width, 2) / width)
        angle = torch.arange(config["positions"])[:, None] * rate
        wave = torch.stack([angle.sin(), angle.cos()], -1).flatten(1)
        self.register_buffer("wave", wave, persistent=False)

    def places(self):
        found = super().places()
        for side in ("encoder", "decoder"):
            found[f"{side}/stack/norm"] = getattr(self, f"{side}_norm"), ""
            for name, layer in getattr(self, side).named_modules():
                place = name.replace(".", "/")
                place = place.replace("cross_attention", "cross_attention/attention")
                place = place.replace("attention/attention/key", "attention/attention/memory")
                found[f"{side}/stack/layers/{place}"] = layer, ""
        return found

    def start(self, source, lengths):
        valid = (source != PAD)[:, None, None]
        x = self.source_embedding(source) + self.wave[: source.shape[1]]
        for layer in self.encoder:
            x = layer.encode(x, valid)
        x = self.encoder_norm(x)
        sources = [layer.cross_attention.look_at(x) for layer in self.decoder]
        return (sources, valid), (0, [()] * len(self.decoder))

    def step(self, memory, state, x):
        at, past = state
        x, seen = self.decode(memory, x[:, None] + self.wave[at], past)
        return (at + 1, seen), x[:, 0]

    def forced(self, memory, state, x):
        _, past = state
        return self.decode(memory, x + self.wave[: x.shape[1]], past)[0]

    def decode(self, memory, x, past):
        (sources, valid), seen = memory, []
        for layer, source, before in zip(self.decoder, sources, past, strict=True):
            x, now = layer.decode(x, source, valid, before)
            seen.append(now)
        return self.decoder_norm(x), seen


# The benchmark's name of a parameter and PyTorch's; matrices are transposed, tables are not.
KINDS = {
    "kernel": "weight", "scale": "weight", "table": "weight", "vector": "weight", "bias": "bias",
    "input_kernel": "weight_ih", "recurrent_kernel": "weight_hh", "output_bias": "bias",
}  # fmt: skip


@torch.no_grad()
def fill(model, weights):
    """Gives each parameter its initial value. LSTMs have a second bias here, which stays 0."""
    places, given = model.places(), set()
    for path, array in weights.items():
        place, _, kind = path.rpartition("/")
        if kind == "vector":
            place = path
        layer, ending = places[place]
        name = KINDS[kind]
        if isinstance(layer, nn.LSTM | nn.LSTMCell):
            name = "bias_ih" if kind == "bias" else name
        parameter = getattr(layer, name + ending)
        matrix = torch.from_numpy(array.reshape(array.shape[-parameter.dim() :]))
        parameter.copy_(matrix.T if parameter.dim() == 2 and kind != "table" else matrix)
        given.add(id(parameter))
    for name, parameter in model.named_parameters():
        if "bias_hh" in name:
            parameter.zero_()
        elif id(parameter) not in given:
            raise ValueError(f"{name}: no such weight was written")
