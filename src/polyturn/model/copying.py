"""Initial weights that can already copy: an induction circuit, laid into the first two layers.

A small model writes code from intents only if it copies names and values, and copying needs two layers to agree:
one that tells each position what stood before it, and one that looks for the current token among those notes
and takes what followed there (Olsson et al. 2022, "In-context Learning and Induction Heads"). Neither is of use
without the other, so gradient descent finds them late, and at 8,192 tokens not within our budget (docs/log).
So the weights begin there. Everything is random but for four relations:

- the head is the embedding transposed: what was copied comes out as the token it is;
- layer 0, half of the heads: attend to the position before, note its token in a random subspace;
- layer 1, all heads: look for the note that equals the current token;
- layer 1, all heads together: hand the found token on unchanged.

Training is free to change all of it. The other heads, the MLPs and all later layers start as always.
"""

from dataclasses import replace
from math import sqrt

import jax
import jax.numpy as jnp

from polyturn.model.config import ModelConfig
from polyturn.model.params import Params, initialise
from polyturn.utils.errors import UserError

EMBEDDING = 0.5  # std; the residual stream must not drown in what the layers add
HEAD = 0.05  # std; with the embedding's direction, logits of a copied token then stand out without saturating
CONSTANT = 4.0  # norm of the first layer's norm bias: the direction that asks by position and not by content
POSITION = 6.0  # score of the position before, per unit of weight below
PITCHES = (1.0, 0.5, 0.25)  # weight of the three fastest rotary pairs; slower ones cannot tell neighbours apart
MATCH = 14.0  # score of a note that equals the current token; others have a mean of 0
NOTE = 1.0  # size of a note against the token's own embedding
FOUND = 2.0  # size of what layer 1 hands on, against the token's own embedding
QUIET = 0.3  # factor on the MLPs' and other heads' output


def initialise_copying(config: ModelConfig, key: jax.Array) -> Params[jax.Array]:
    """Fresh float32 weights with the circuit. Raises UserError for shapes that have no room for it."""
    if config.layers < 2 or config.heads < 2 or config.rotary < 2 * len(PITCHES) or config.width < 32:
        raise UserError("Weights that copy need 2 layers, 2 heads, 6 rotary dimensions and a width of 32.")
    d, h, k = config.width, config.heads, config.head_width
    keys = iter(jax.random.split(key, 8))
    base = initialise(config, next(keys))
    embedding = EMBEDDING * jax.random.normal(next(keys), base.embedding.shape)
    blocks = base.blocks
    w_in = blocks.w_in.reshape(config.layers, d, 7, h, k)
    w_out = (QUIET * blocks.w_out).reshape(config.layers, 5, h, k, d)

    # layer 0: the position before
    asking = jax.random.normal(next(keys), (d,))
    asking = asking / jnp.linalg.norm(asking)
    pitch = jnp.zeros(k).at[jnp.arange(0, 2 * len(PITCHES), 2)].set(jnp.sqrt(jnp.array(PITCHES)))
    angle = 10000.0 ** (-2.0 * jnp.arange(len(PITCHES), dtype=jnp.float32) / config.rotary)
    turned = jnp.zeros(k)
    for pair, weight in enumerate(PITCHES):  # the key of position s, turned on by one, meets the query of s + 1
        turned = turned.at[2 * pair].set(sqrt(weight) * jnp.cos(angle[pair]))
        turned = turned.at[2 * pair + 1].set(sqrt(weight) * jnp.sin(angle[pair]))
    size = sqrt(POSITION * sqrt(k)) / CONSTANT
    noting = h // 2
    basis = _orthonormal(next(keys), d)[: noting * k].reshape(noting, k, d)  # what is read of the token before
    place = _orthonormal(next(keys), d)[: noting * k].reshape(noting, k, d)  # where it is noted
    for head in range(noting):
        w_in = w_in.at[0, :, 0, head].set(size * jnp.outer(asking, pitch))
        w_in = w_in.at[0, :, 1, head].set(size * jnp.outer(asking, turned))
        w_in = w_in.at[0, :, 2, head].set(basis[head].T)
    note = NOTE * EMBEDDING * sqrt(h / noting)
    w_out = w_out.at[0, 0, :noting].set(note * place)

    # layer 1: the note that equals the current token; the slow rotary pairs and the unturned rest carry content
    slow = _slow(config)
    strength = sqrt(MATCH * sqrt(k) / (k - slow)) * sqrt(2.0)
    taken = _orthonormal(next(keys), d).reshape(h, k, d)
    for head in range(h):
        note_of = head % noting
        mask = (jnp.arange(k) >= slow).astype(jnp.float32)[:, None]
        w_in = w_in.at[1, :, 0, head].set(strength * (mask * basis[note_of]).T)
        w_in = w_in.at[1, :, 1, head].set(strength * (mask * place[note_of]).T)
        w_in = w_in.at[1, :, 2, head].set(taken[head].T)
    w_out = w_out.at[1, 0].set(FOUND * EMBEDDING * sqrt(2.0) * taken)

    return replace(
        base,
        embedding=embedding,
        head=HEAD / EMBEDDING * embedding.T,
        blocks=replace(
            blocks,
            norm_bias=blocks.norm_bias.at[0].set(CONSTANT * asking),
            w_in=w_in.reshape(blocks.w_in.shape),
            w_out=w_out.reshape(blocks.w_out.shape),
        ),
    )


def _orthonormal(key: jax.Array, d: int) -> jax.Array:
    """A random rotation `[d, d]`."""
    return jnp.linalg.qr(jax.random.normal(key, (d, d)))[0]


def _slow(config: ModelConfig) -> int:
    """The first dimension of a head whose rotary pair turns by less than one radian in a hundred positions."""
    for pair in range(config.rotary // 2):
        if 10000.0 ** (-2.0 * pair / config.rotary) < 0.01:
            return 2 * pair
    return config.rotary
