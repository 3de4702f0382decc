"""The two shapes of a scaling law: a loss surface over N and D, and a power law of compute C = 6ND.

    Hoffmann et al. 2022 (arXiv:2203.15556)   L(N, D) = E + A / N^alpha + B / D^beta
    Kaplan et al. 2020 (arXiv:2001.08361)     L(N, D) = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D

The least loss of the first at fixed C lies on two power laws, in closed form; so do the N and D
that reach a given loss with least compute.
"""

from __future__ import annotations

from dataclasses import dataclass

from groundup.errors import InputError

TRAINING_FLOPS = 6  # per parameter and token, forward and backward (Kaplan et al. 2020, 2.1)
INFERENCE_FLOPS = 2  # forward only


@dataclass(frozen=True)
class LossSurface:
    """L(N, D) = E + A / N^alpha + B / D^beta."""

    irreducible: float
    a: float
    alpha: float
    b: float
    beta: float

    def loss(self, params: float, tokens: float) -> float:
        """Nats per token at N = ``params``, D = ``tokens``."""
        size: float = self.a / params**self.alpha
        data: float = self.b / tokens**self.beta
        return self.irreducible + size + data

    def optimum(self, flops: float) -> tuple[float, float]:
        """N and D of the least loss at 6ND = ``flops`` (Hoffmann et al. 2022, equation 4)."""
        to_params, to_tokens = self.power_laws()
        return to_params.at(flops), to_tokens.at(flops)

    def power_laws(self) -> tuple[PowerLaw, PowerLaw]:
        """The optimum's N and D as functions of C: N = G (C/6)^(beta/(alpha+beta)), D = C/6N."""
        both = self.alpha + self.beta
        g = (self.alpha * self.a / (self.beta * self.b)) ** (1 / both)
        a = self.beta / both
        return with_other(PowerLaw(g / TRAINING_FLOPS**a, a))

    def optimal_params(self, tokens: float) -> float:
        """The N whose optimum is D = ``tokens``."""
        to_params, to_tokens = self.power_laws()
        return to_params.at(to_tokens.inverse(tokens))

    def optimal_tokens(self, params: float) -> float:
        """The D that is optimal for N = ``params``."""
        to_params, to_tokens = self.power_laws()
        return to_tokens.at(to_params.inverse(params))

    def optimum_for_loss(self, loss: float) -> tuple[float, float]:
        """The N and D that reach ``loss`` with least compute.

        There alpha A/N^alpha = beta B/D^beta, so the size term is beta/(alpha+beta) of the
        reducible loss.

        Raises:
            InputError: the loss is not above the irreducible one.
        """
        reducible = loss - self.irreducible
        if not reducible > 0:
            raise InputError(
                f"no model reaches a loss of {loss:.4g}: {self.irreducible:.4g} is irreducible",
                where="loss",
            )
        share = self.beta / (self.alpha + self.beta)
        n = (self.a / (share * reducible)) ** (1 / self.alpha)
        d = (self.b / ((1 - share) * reducible)) ** (1 / self.beta)
        return n, d

    def tokens_for_loss(self, params: float, loss: float) -> float | None:
        """The D at which N = ``params`` reaches ``loss``; None if no amount of text is enough."""
        left: float = loss - self.irreducible - self.a / params**self.alpha
        if left <= 0:
            return None
        try:
            tokens: float = (self.b / left) ** (1 / self.beta)
        except OverflowError:
            return None
        return tokens


@dataclass(frozen=True)
class KaplanSurface:
    """L(N, D) = [(N_c/N)^(alpha_N/alpha_D) + D_c/D]^alpha_D (Kaplan et al. 2020, equation 1.5)."""

    n_c: float
    alpha_n: float
    d_c: float
    alpha_d: float

    def loss(self, params: float, tokens: float) -> float:
        """Nats per token of WebText2; ``params`` without embeddings."""
        size: float = (self.n_c / params) ** (self.alpha_n / self.alpha_d)
        loss: float = (size + self.d_c / tokens) ** self.alpha_d
        return loss


@dataclass(frozen=True)
class PowerLaw:
    """y = coefficient · C^exponent."""

    coefficient: float
    exponent: float

    def at(self, flops: float) -> float:
        """The value at C = ``flops``."""
        return self.coefficient * float(flops**self.exponent)

    def inverse(self, value: float) -> float:
        """The C at which y is ``value``."""
        return float((value / self.coefficient) ** (1 / self.exponent))


def with_other(one: PowerLaw) -> tuple[PowerLaw, PowerLaw]:
    """``one`` of N(C) and D(C), and the other from 6ND = C."""
    six = TRAINING_FLOPS
    return one, PowerLaw(1 / (six * one.coefficient), 1 - one.exponent)
