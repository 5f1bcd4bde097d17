"""clstm: LSTM networks for CPUs.

    from clstm import Sequential, LSTM, Dense

The words are Keras's; `clstm.functional` has the LSTM as pure functions on arrays.
"""

__version__ = "0.1.0"

try:
    from ._kernels import _dispatch  # noqa: F401
except ImportError:
    raise ImportError(
        "clstm's compiled kernels are missing beside " + __file__ + ": start Python outside the "
        "source folder to use the installed clstm, or build in place with `pip install -e .`"
    ) from None

from . import (
    activations,
    callbacks,
    config,
    constraints,
    data,
    datasets,
    decoding,
    functional,
    initializers,
    layers,
    losses,
    metrics,
    optimizers,
    random,
    regularizers,
    schedules,
)
from ._serialize import register
from .full_batch import lbfgs
from .health import gradient_health
from .io.model_file import load_model
from .layers import (
    LSTM,
    MLSTM,
    Activation,
    ActivityRegularization,
    Add,
    AlphaDropout,
    Attention,
    AttentionPooling,
    Bidirectional,
    Concatenate,
    Dense,
    Dropout,
    Embedding,
    Flatten,
    GaussianDropout,
    GaussianNoise,
    GlobalAveragePooling1D,
    GlobalMaxPooling1D,
    Input,
    InputDecay,
    Layer,
    LayerNormalization,
    Masking,
    MultiHeadAttention,
    PositionalEncoding,
    PositionEmbedding,
    Reshape,
    SpatialDropout1D,
    TimeDistributed,
    TransformerBlock,
)
from .models import Model, Sequential
from .random import set_seed
from .rate_finder import find_learning_rate

__all__ = [
    "LSTM", "MLSTM", "Activation", "ActivityRegularization", "Add", "AlphaDropout",
    "Attention", "AttentionPooling", "Bidirectional", "Concatenate", "Dense", "Dropout",
    "Embedding", "Flatten", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling1D",
    "GlobalMaxPooling1D", "Input", "InputDecay", "Layer", "LayerNormalization", "Masking", "Model",
    "MultiHeadAttention", "PositionEmbedding", "PositionalEncoding", "Reshape", "Sequential",
    "SpatialDropout1D", "TimeDistributed", "TransformerBlock", "activations", "callbacks",
    "config", "constraints", "data", "datasets", "decoding", "find_learning_rate", "functional",
    "gradient_health", "initializers", "layers", "lbfgs", "load_model", "losses", "metrics",
    "optimizers", "random", "register", "regularizers", "schedules", "set_seed",
]  # fmt: skip
