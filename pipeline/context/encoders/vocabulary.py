"""CLIP's vocabulary as its first release stored it: a compressed list of merges."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

from pipeline.encoding.checkpoints import beside
from pipeline.encoding.loading import load_tokenizer
from pipeline.store.atomic import StageError

MERGES = "bpe_simple_vocab_16e6.txt.gz"
# The file lists more merges than CLIP uses: as many as fill 49,152 entries beside 256 bytes, twice, and two marks.
N_MERGES = 49152 - 256 - 2
START, END = "<|startoftext|>", "<|endoftext|>"


def byte_symbols() -> list[str]:
    """The printable letter that stands for each byte (Radford et al. 2019), in the order of CLIP's vocabulary."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    rest = [byte for byte in range(256) if byte not in set(printable)]
    return [chr(byte) for byte in printable] + [chr(256 + place) for place in range(len(rest))]


def read_merges(path: Path) -> list[tuple[str, str]]:
    """Pairs of the merge list, in order; its first line is a comment.

    Raises:
        StageError: not such a file.
    """
    try:
        lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : N_MERGES + 1]
        pairs = [tuple(line.split()) for line in lines if line]
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise StageError(f"{path} is not a list of merges ({error})") from None
    if not pairs or any(len(pair) != 2 for pair in pairs):
        raise StageError(f"{path} is not a list of merges: each line must name two symbols")
    return pairs


def clip_tokenizer(name: str, revision: str = "main") -> Any:
    """The tokenizer of a checkpoint in CLIP's own format or in that of ``transformers``.

    Raises:
        StageError: it has neither.
    """
    found = beside(name, revision, ("tokenizer.json", MERGES))
    if not found:
        raise StageError(f"`{name}` has no tokenizer: neither tokenizer.json nor {MERGES}")
    if found[0].name == "tokenizer.json":
        return load_tokenizer(name, revision)
    from transformers import CLIPTokenizer

    pairs = read_merges(found[0])
    symbols = byte_symbols()
    entries = [*symbols, *(f"{symbol}</w>" for symbol in symbols), *("".join(pair) for pair in pairs), START, END]
    return CLIPTokenizer({entry: place for place, entry in enumerate(entries)}, pairs, model_max_length=77)
