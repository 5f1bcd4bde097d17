"""The command `clstm`, also `python -m clstm`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from . import __version__

PICTURES = (".png", ".svg", ".pdf")


def _epochs(text: str) -> int:
    value = int(text) if text.isdecimal() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, got {text!r}")
    return value


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**64:
        raise argparse.ArgumentTypeError(f"expected a whole number in 0 .. 2^64 - 1, got {text!r}")
    return int(text)


def _picture(text: str) -> Path:
    path = Path(text)
    if path.suffix.lower() not in PICTURES:
        raise argparse.ArgumentTypeError(
            f"expected a file name that ends in {', '.join(PICTURES)}, got {text!r}"
        )
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"expected an existing folder, got {str(path.parent)!r}")
    return path


def parser() -> argparse.ArgumentParser:
    """What the command line may say."""
    main = argparse.ArgumentParser(
        prog="clstm", description="LSTM networks for CPUs: train and serve, fast, light, exact."
    )
    main.add_argument("--version", action="version", version=f"clstm {__version__}")
    commands = main.add_subparsers(dest="command", metavar="COMMAND", required=True)
    demo = commands.add_parser(
        "demo",
        help="train a model on real data and measure it",
        description="Trains two LSTM layers on handwritten digits that come with clstm, prints "
        "the model, its test accuracy beside simple baselines, and the training speed beside a "
        "plain NumPy implementation, and saves a picture of the learning curve.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    demo.add_argument(
        "--epochs", type=_epochs, default=30, metavar="N",
        help="passes over the training digits; 1 is the quick look",
    )  # fmt: skip
    demo.add_argument(
        "--output", type=_picture, default=Path("learning_curve.png"), metavar="FILE",
        help="the picture to save, as .png, .svg or .pdf (needs matplotlib)",
    )  # fmt: skip
    demo.add_argument(
        "--seed", type=_seed, default=0, metavar="N",
        help="start of all random numbers; the same seed trains the same model",
    )  # fmt: skip
    commands.add_parser(
        "info",
        help="print versions, CPU, instruction sets, backend, BLAS, OpenMP and threads",
        description="Prints what this clstm is made of and what it uses on this machine.",
    )
    return main


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit code is 0, 1 after an error, 2 for a wrong command line."""
    options = parser().parse_args(arguments)
    try:
        if options.command == "info":
            from .config import show_config

            print(show_config(), flush=True)
        else:
            from .demo import run

            run(options.epochs, options.output, options.seed)
    except KeyboardInterrupt:
        print("clstm: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has gone: `clstm info | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (OSError, ValueError, FloatingPointError) as error:
        print(f"clstm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
