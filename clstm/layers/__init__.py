"""Layers, one per file, each with its forward and its backward run together."""

from .activation import Activation
from .activity_regularization import ActivityRegularization
from .attention import Attention
from .base import Layer
from .bidirectional import Bidirectional
from .crf import CRF
from .dense import Dense
from .dropout import (
    AlphaDropout,
    Dropout,
    GaussianDropout,
    GaussianNoise,
    SpatialDropout1D,
    TrainingNoise,
)
from .embedding import Embedding
from .input import Input, InputLayer
from .input_decay import InputDecay
from .lstm import LSTM
from .masking import Masking
from .merge import Add, Concatenate
from .mlstm import MLSTM
from .multi_head_attention import MultiHeadAttention
from .normalization import LayerNormalization
from .pooling import AttentionPooling, GlobalAveragePooling1D, GlobalMaxPooling1D
from .position import PositionalEncoding, PositionEmbedding
from .reshape import Flatten, Reshape
from .tied_dense import TiedDense
from .time_distributed import TimeDistributed
from .transformer_block import TransformerBlock

__all__ = [
    "CRF", "LSTM", "MLSTM", "Activation", "ActivityRegularization", "Add", "AlphaDropout",
    "Attention", "AttentionPooling", "Bidirectional", "Concatenate", "Dense", "Dropout",
    "Embedding", "Flatten", "GaussianDropout", "GaussianNoise", "GlobalAveragePooling1D",
    "GlobalMaxPooling1D", "Input", "InputDecay", "InputLayer", "Layer", "LayerNormalization",
    "Masking", "MultiHeadAttention", "PositionEmbedding", "PositionalEncoding", "Reshape",
    "SpatialDropout1D", "TiedDense", "TimeDistributed", "TrainingNoise", "TransformerBlock",
]  # fmt: skip
