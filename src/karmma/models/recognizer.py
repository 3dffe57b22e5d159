"""The recognizer: extractors, embedding, fusion, heads. Teacher and student are two configurations of it (paper, Fig. 2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from ..config import RecognizerConfig
from ..types import KarmmaError, ModalitySpec
from .common_tokens import CommonTokens
from .embedding import ModalityEmbedding
from .encoders import Encoder, completed, make_encoder
from .fusion import FusionBlock
from .heads import MultiHeadMlp, PooledHeads
from .random_kernels import RandomKernels
from .rebuilding import AbsentFeatures, Rebuilder, SharedSpecific

Logits = dict[str, Tensor]
LEARNED = ("tokens", "one_token", "rebuilt", "shared")  # what stands for absent modalities is learned


class RecognizerModel(nn.Module):
    """Maps any non-empty subset of modalities to logits per label set.

    `absent="tokens"` feeds learned tokens for what is missing, `"one_token"` one of them over and over, `"rebuilt"` and `"shared"`
    add to them what others tell of it, `"skip"` feeds nothing, `"summed"` sums up in common tokens what is there; an extractor
    then runs only on the samples that have its modality. `"zeros"` (early fusion) takes zeros for its data and knows of no absence.
    """

    def __init__(self, config: RecognizerConfig, specs: Mapping[str, ModalitySpec], label_sizes: Mapping[str, int]) -> None:
        super().__init__()
        missing = [name for name in specs if name not in config.encoders]
        if missing:
            raise KarmmaError(f"no encoder configured for modality {missing[0]!r}; there is: {', '.join(config.encoders)}")
        config = replace(config, encoders={name: completed(encoder) for name, encoder in config.encoders.items()})
        self.config, self.modalities, self.specs = config, tuple(specs), dict(specs)
        self.encoders = nn.ModuleDict({name: make_encoder(spec, config.encoders[name]) for name, spec in specs.items()})
        sizes = {name: (self.encoder(name).tokens, self.encoder(name).width, config.dim) for name in specs}
        one_token = config.absent == "one_token"
        self.embeddings = nn.ModuleDict({name: ModalityEmbedding(*size, one_token=one_token) for name, size in sizes.items()})
        self.fusion = FusionBlock(config.dim, config.layers, config.heads, config.ffn_dim, config.dropout)
        self.heads = MultiHeadMlp(config.dim, config.head_dim, dict(label_sizes), config.dropout)
        for room in (self.embeddings, self.fusion, self.heads):
            room.apply(keep_variance)
        self.label_sizes = dict(label_sizes)
        self.own_heads = nn.ModuleDict(
            {name: PooledHeads(self.encoder(name).width, self.label_sizes) for name in specs} if config.own_votes else {}
        )
        self.kernels = nn.ModuleDict(
            {name: RandomKernels(spec, config.kernels, sum(label_sizes.values())) for name, spec in specs.items()}
            if config.kernels is not None
            else {}
        )
        self.rebuilder = absent_features(config, self.modalities)  # last, so that all else starts as it does without
        self.common = nn.ModuleDict({name: CommonTokens(config.dim) for name in specs} if config.absent == "summed" else {})

    def encoder(self, modality: str) -> Encoder:
        encoder = self.encoders[modality]
        assert isinstance(encoder, Encoder)
        return encoder

    def embedding(self, modality: str) -> ModalityEmbedding:
        embedding = self.embeddings[modality]
        assert isinstance(embedding, ModalityEmbedding)
        return embedding

    def extract(self, modality: str, clips: Tensor) -> Tensor:
        """What `fuse` takes of clips `(batch, …)`: their tokens `(batch, tokens, width)`.

        Where there are random kernels, and not while training, further rows of that width hold their votes.
        """
        tokens: Tensor = self.encoder(modality)(clips)
        if self.training or modality not in self.kernels:
            return tokens
        votes = self.kernels[modality](clips).to(tokens.dtype)
        rows = -(-votes.shape[1] // tokens.shape[2])
        votes = functional.pad(votes, (0, rows * tokens.shape[2] - votes.shape[1]))
        return torch.cat([tokens, votes.unflatten(1, (rows, tokens.shape[2]))], 1)

    def split_votes(self, features: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Of what `extract` gave: tokens `(samples, tokens, width)`, and what each modality votes by itself
        `(samples, classes)`, all label sets in a row: random kernels, where `extract` put votes of theirs, and own heads."""
        tokens = {name: values[:, : self.encoder(name).tokens] for name, values in features.items()}
        rows = {name: values[:, tokens[name].shape[1] :].flatten(1) for name, values in features.items()}
        classes = sum(self.label_sizes.values())
        votes = {name: values[:, :classes] for name, values in rows.items() if values.shape[1]}
        for name in tokens if self.own_heads else ():
            own = torch.cat(list(self.own_heads[name](tokens[name]).values()), 1)
            votes[name] = own + votes[name] if name in votes else own
        return tokens, votes

    def by_head(self, votes: Tensor) -> Logits:
        """Votes of all label sets in a row `(batch, classes)` as logits per label set."""
        return dict(zip(self.label_sizes, votes.split(list(self.label_sizes.values()), 1), strict=True))

    def with_votes(self, logits: Logits, votes: Tensor) -> Logits:
        """Logits with votes `(batch, classes)` of all label sets in a row: those of own heads count as much as all that is
        fused, so that each has to be right by itself; those of random kernels alone are added."""
        share = 0.5 if self.own_heads else 1.0
        return {head: share * (logits[head] + part.to(logits[head])) for head, part in self.by_head(votes).items()}

    def forward(self, data: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Logits:
        """Logits `(batch, classes)` per label set from clips `data[modality]` `(batch, …)`.

        Raises ValueError if a sample has no modality at all.
        """
        return self.answers(data, present, [present])[0][0]

    def answers(
        self, data: Mapping[str, Tensor], present: Mapping[str, Tensor], draws: Sequence[Mapping[str, Tensor]]
    ) -> tuple[list[Logits], dict[str, Logits]]:
        """What `forward` gives for each of several draws of what is `present`, from one pass of the extractors; and of each
        modality what it votes by itself, for the samples that have it, in batch order."""
        present, drawn = self.checked(present), [self.checked(draw) for draw in draws]
        if self.config.absent == "zeros":
            clips = [{name: self.filled(name, data, draw[name]) for name in self.modalities} for draw in drawn]
            return [self.fuse_all({name: self.encoder(name)(values) for name, values in some.items()}) for some in clips], {}
        tokens, votes = self.split_votes(self.extract_present(data, present))
        fused = [self.fuse_tokens(left_of(tokens, present, draw), left_of(votes, present, draw), draw) for draw in drawn]
        return fused, {name: self.by_head(values) for name, values in votes.items()}

    def extract_present(self, data: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """What `fuse` takes: of each modality that any sample has, `extract` of the samples that have it, in batch order."""
        features = {}
        for name in self.modalities:
            rows = present[name].nonzero().flatten()
            if len(rows) == len(present[name]):
                features[name] = self.extract(name, data[name])
            elif len(rows):
                features[name] = self.extract(name, data[name].index_select(0, rows))
        return features

    def checked(self, present: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Presence of exactly this recognizer's modalities; a modality nobody mentions is absent."""
        unknown = [name for name in present if name not in self.modalities]
        if unknown:
            raise ValueError(f"unknown modality {unknown[0]!r}; this recognizer has: {', '.join(self.modalities)}")
        if not present:
            raise ValueError("presence is empty: at least one modality is needed")
        example = next(iter(present.values()))
        flags = {name: present.get(name, torch.zeros_like(example)).bool() for name in self.modalities}
        bare = ~torch.stack(list(flags.values())).any(0)
        if bare.any():
            raise ValueError(f"sample {int(bare.nonzero()[0])} of the batch has no modality at all; at least one is needed")
        return flags

    def fuse(self, features: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Logits:
        """Logits from what `extract` gave: `features[modality]` `(present samples, rows, width)`, in batch order."""
        return self.fuse_tokens(*self.split_votes(features), present)

    def fuse_tokens(
        self, tokens: Mapping[str, Tensor], votes: Mapping[str, Tensor], present: Mapping[str, Tensor]
    ) -> Logits:
        """Logits from the tokens of each modality and what it votes by itself, both of the samples that have it."""
        if self.config.absent == "zeros":
            return self.fuse_all({name: self.with_blanks(name, tokens, present[name]) for name in self.modalities})
        batch = len(next(iter(present.values())))
        if self.config.absent == "summed":
            common = self.spread({name: self.common_tokens(name, values) for name, values in tokens.items()}, present).sum(1)
            logits = self.answer_common(common)
            return self.with_votes(logits, self.mean_of_present(votes, present)) if votes else logits
        skip, pieces, visible, names = self.config.absent == "skip", [], [], []
        projected, known = self.projected(tokens)
        for name in self.modalities:
            flag = present[name]
            if skip and not flag.any():
                continue
            rows = None if flag.all() else flag.nonzero().flatten()
            pieces.append(self.embedding(name)(projected.get(name), rows, batch))
            visible.append(flag[:, None].expand(-1, pieces[-1].shape[1]))
            names.append(name)
        if self.rebuilder is not None:
            seen = self.spread(known, present)
            there = self.stacked(present).to(seen.device)  # of a model on the meta device, too
            pieces = with_rebuilt(pieces, self.rebuilder(seen, there), there)
        mask = torch.cat(visible, 1)
        fused = self.fusion(torch.cat(pieces, 1), None if not skip or bool(mask.all()) else mask)
        logits = self.vote(fused, [piece.shape[1] for piece in pieces], [present[name] for name in names])
        return self.with_votes(logits, self.mean_of_present(votes, present)) if votes else logits

    def projected(self, tokens: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """An extractor's tokens `(samples, tokens, width)` as they are embedded `(samples, tokens, dim)`; and, where absent modalities
        are rebuilt, what is known by them `(samples, known width)`."""
        features = {name: self.embedding(name).project(values) for name, values in tokens.items()}
        if self.rebuilder is None:
            return features, {}
        taken = {name: self.rebuilder.taken(name, values) for name, values in features.items()}
        return {name: fused for name, (fused, _) in taken.items()}, {name: known for name, (_, known) in taken.items()}

    def common_tokens(self, name: str, tokens: Tensor) -> Tensor:
        """A modality's part of the common tokens `(samples, common, dim)` of an extractor's tokens `(samples, tokens, width)`."""
        embedding = self.embedding(name)
        return self.common[name](embedding(embedding.project(tokens), None, tokens.shape[0]))

    def answer_common(self, common: Tensor) -> Logits:
        """Logits of common tokens `(batch, common, dim)`: the shared MLP's on CLS and on their mean."""
        fused = self.fusion(common, None)
        logits = self.heads(torch.stack([fused[:, 0], fused[:, 1:].mean(1)], 1))
        return {head: values.mean(1) for head, values in logits.items()}

    def spread(self, known: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """What is known of the samples that have a modality `(samples, …)` as `(batch, modalities, …)`, zeros where it is absent."""
        columns = []
        for name in self.modalities:
            flag, example = present[name], next(iter(known.values()))
            column = example.new_zeros(len(flag), *example.shape[1:])
            rows = flag.nonzero().flatten().to(example.device)
            columns.append(column.index_add(0, rows, known[name]) if name in known else column)
        return torch.stack(columns, 1)

    def rebuilding_answers(
        self, data: Mapping[str, Tensor], available: Mapping[str, Tensor], draws: Sequence[Mapping[str, Tensor]]
    ) -> tuple[list[Logits], dict[str, Logits], Tensor]:
        """`answers`, where extractors see whatever is available; and in the mean over draws the errors `(batch,)` of what is known
        of absent modalities."""
        assert self.rebuilder is not None
        available, drawn = self.checked(available), [self.checked(draw) for draw in draws]
        tokens, votes = self.split_votes(self.extract_present(data, available))
        known, has = self.spread(self.projected(tokens)[1], available), self.stacked(available)
        answers = [self.fuse_tokens(left_of(tokens, available, draw), left_of(votes, available, draw), draw) for draw in drawn]
        errors = torch.stack([self.rebuilder.errors(known, has, self.stacked(draw)) for draw in drawn]).mean(0)
        seen = {name: torch.stack([draw[name] for draw in drawn]).any(0) for name in self.modalities}
        return answers, {name: self.by_head(values) for name, values in left_of(votes, available, seen).items()}, errors

    def stacked(self, present: Mapping[str, Tensor]) -> Tensor:
        """Presence as `(batch, modalities)`."""
        return torch.stack([present[name] for name in self.modalities], 1)

    def mean_of_present(self, votes: Mapping[str, Tensor], present: Mapping[str, Tensor]) -> Tensor:
        """Votes `(batch, classes)`: the mean over those modalities that a sample has."""
        example = next(iter(votes.values()))
        flags = torch.stack([present[name] for name in votes], 1)
        total = example.new_zeros(len(flags), example.shape[1])
        for name, values in votes.items():
            rows = present[name].nonzero().flatten().to(example.device)
            total = total.index_add(0, rows, values)
        return total / flags.sum(1, keepdim=True).clamp(min=1).to(example.device)

    def filled(self, name: str, data: Mapping[str, Tensor], flag: Tensor) -> Tensor:
        """Clips of a modality with zeros in the slots of samples that lack it."""
        if name not in data:
            return torch.zeros(len(flag), *self.specs[name].input_shape, device=flag.device)
        return torch.where(flag.view(-1, *[1] * (data[name].ndim - 1)), data[name], 0)

    def with_blanks(self, name: str, features: Mapping[str, Tensor], flag: Tensor) -> Tensor:
        """Tokens of all samples, those of a zero clip where the modality is absent."""
        if flag.all():
            return features[name]
        blank = self.encoder(name)(torch.zeros(1, *self.specs[name].input_shape, device=flag.device))
        tokens = blank.expand(len(flag), -1, -1).clone()
        if flag.any():
            tokens[flag] = features[name].to(tokens.dtype)
        return tokens

    def fuse_all(self, features: Mapping[str, Tensor]) -> Logits:
        """Logits where every sample counts as having everything."""
        batch = len(next(iter(features.values())))
        projected, _ = self.projected(features)
        pieces = [self.embedding(name)(projected[name], None, batch) for name in self.modalities]
        flags = [torch.ones(batch, dtype=torch.bool, device=pieces[0].device) for _ in pieces]
        return self.vote(self.fusion(torch.cat(pieces, 1), None), [piece.shape[1] for piece in pieces], flags)

    def vote(self, fused: Tensor, lengths: list[int], present: list[Tensor]) -> Logits:
        """Average of the shared MLP's logits over CLS and the modality means that may vote."""
        means = [piece.mean(1) for piece in fused[:, 1:].split(lengths, 1)]
        logits = self.heads(torch.stack([fused[:, 0], *means], 1))
        flags = torch.stack([torch.ones_like(present[0]), *present], 1)
        if self.config.average == "all" and self.config.absent in LEARNED:
            flags = torch.ones_like(flags)
        weights = (flags / flags.sum(1, keepdim=True)).to(fused)
        return {head: torch.einsum("bv,bvc->bc", weights, values) for head, values in logits.items()}


def left_of(
    features: Mapping[str, Tensor], present: Mapping[str, Tensor], draw: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Of features of the samples that have a modality those of the samples for which a draw leaves it."""
    kept = {name: draw[name][present[name]] for name in features}
    return {name: values if kept[name].all() else values[kept[name]] for name, values in features.items() if kept[name].any()}


def absent_features(config: RecognizerConfig, modalities: tuple[str, ...]) -> AbsentFeatures | None:
    """What tells of absent modalities, where a recognizer has something that does."""
    if config.absent == "shared":  # whatever is fused goes through it
        return SharedSpecific(modalities, config.dim).apply(keep_variance)
    return Rebuilder(len(modalities), config.dim, config.heads, config.dropout) if config.absent == "rebuilt" else None


def with_rebuilt(pieces: list[Tensor], rebuilt: Tensor, there: Tensor) -> list[Tensor]:
    """Embedded tokens of every modality, those of absent ones with what is rebuilt of it `(batch, modalities, dim)`."""
    added = torch.where(there[:, :, None], torch.zeros(()).to(rebuilt), rebuilt)
    return [piece + added[:, column, None].to(piece.dtype) for column, piece in enumerate(pieces)]


def keep_variance(module: nn.Module) -> None:
    """Linear layers start with weights of variance 1 / inputs: torch's default shrinks signals and learns more slowly here."""
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=module.in_features**-0.5)
        nn.init.zeros_(module.bias)
