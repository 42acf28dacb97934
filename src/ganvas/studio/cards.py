"""What a card says of a model: its equation, as TeX, and when to use it.  The papers are named in docs/models."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """A model in a sentence."""

    title: str
    equation: str
    use: str
    no_tables: str = ""
    """why it learns no rows of tables"""


ELBO = r"\mathbb{E}_{q}\,[L(x, g(z))] + \beta\, \mathrm{KL}(\mathcal{N}(\mu, \Sigma)\,\|\,\mathcal{N}(0, I))"
GAME = r"\min_G \max_D\; \mathbb{E} \log D(x) + \mathbb{E} \log(1 - D(G(z)))"
TRANSLATES = "it translates images"
CARDS = {
    "autoencoder": Card(
        "Autoencoder", r"\min\; \mathbb{E}\,\|x - g(f(x))\|^2",
        "To compress, and to mark anomalies by their error; samples need a fitted prior.",
    ),
    "vae": Card("VAE", r"\min\; " + ELBO, "The first to try on anything: stable, quick, with codes to explore."),
    "iwae": Card(
        "IWAE", r"\max\; \mathbb{E} \log \tfrac1k \sum_{i=1}^k \frac{p(x, z_i)}{q(z_i \mid x)}",
        "For a tighter bound on the likelihood, at k times the cost.",
    ),
    "betatcvae": Card(
        "β-TCVAE", r"\alpha\, I(x; z) + \beta\, \mathrm{TC}(z) + \gamma \sum_j \mathrm{KL}(q(z_j)\,\|\,p(z_j))",
        "For codes whose dimensions mean one thing each.",
    ),
    "laddervae": Card(
        "Ladder VAE", r"\mathbb{E}[L(x, g(z_1))] + \sum_l \mathrm{KL}(q(z_l \mid z_{l+1}, x)\,\|\,p(z_l \mid z_{l+1}))",
        "For images of 64 pixels and more, where one code is too little.",
    ),
    "gan": Card("GAN", GAME, "To see the original game, on points or small images, with plain networks."),
    "dcgan": Card("DCGAN", GAME, "The first GAN to try on images.", "it has convolutions, for images"),
    "cgan": Card(
        "cGAN", r"\mathbb{E} \log D(x \mid y) + \mathbb{E} \log(1 - D(G(z \mid y) \mid y))",
        "For images with classes, to draw the class that you ask for.",
        "rows have no classes: ctgan draws rows with the values that you ask for",
    ),
    "wgan": Card(
        "WGAN", r"\min_G \max_{D \in \mathrm{Lip}}\; \mathbb{E}\, D(x) - \mathbb{E}\, D(G(z))",
        "For a loss that says how far samples are; weights are clipped, which is slow.",
    ),
    "wgangp": Card(
        "WGAN-GP", r"\mathbb{E}\, D(x) - \mathbb{E}\, D(G(z)) - 10\, \mathbb{E} (\|\nabla D(\hat x)\| - 1)^2",
        "As WGAN, with a penalty in place of clipping: the steadiest of the older GANs.",
    ),
    "r3gan": Card(
        "R3GAN", r"\mathbb{E}\, \mathrm{softplus}(D(G(z)) - D(x)) + \tfrac{\gamma}{2} (R_1 + R_2)",
        "For the cleanest outlines, and for points in the plane; steps cost more.",
    ),
    "ctgan": Card(
        "CTGAN", r"\mathbb{E}\, D(x, y) - \mathbb{E}\, D(G(z, y), y) - 10\, \mathbb{E} (\|\nabla D(\hat x)\| - 1)^2",
        "For tables alone, where rare categories matter; a VAE is quicker.",
    ),
    "cyclegan": Card(
        "CycleGAN", r"\mathcal{L}_{GAN}(G) + \mathcal{L}_{GAN}(F) + 10\, \|F(G(x)) - x\|_1 + 10\, \|G(F(y)) - y\|_1",
        "To translate between two kinds of images without pairs.", TRANSLATES,
    ),
    "discogan": Card(
        "DiscoGAN", r"-\log D_B(G_{AB}(a)) - \log D_A(G_{BA}(b)) + d(G_{BA}(G_{AB}(a)), a) + d(G_{AB}(G_{BA}(b)), b)",
        "As CycleGAN, where shapes change as well as colours.", TRANSLATES,
    ),
    "cut": Card(
        "CUT", r"\mathbb{E}(D(G(x)) - 1)^2 + \mathrm{PatchNCE}(x) + \mathrm{PatchNCE}(y)",
        "To translate one way, from the richer kind of images to the poorer.", TRANSLATES,
    ),
}  # fmt: skip
"""by the model's name, in the order of `ganvas train --help`"""
