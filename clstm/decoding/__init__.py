"""From what a model gives to what is wanted: labels, tags, sequences of tokens."""

from .crf import crf_viterbi
from .ctc import ctc_beam_decode, ctc_greedy_decode
from .tokens import beam_decode, greedy_decode, sample_decode

__all__ = ["beam_decode", "crf_viterbi", "ctc_beam_decode", "ctc_greedy_decode", "greedy_decode",
           "sample_decode"]  # fmt: skip
