"""Throughput of the prompt grid against the plain recipe, at ViT-B/16 with random weights.

The plain recipe draws every circle with PIL, lets the stock image processor prepare every picture, and encodes in
float32. Preparing with the pipeline is timed alone too.

python bench/prompts.py                    # 2 frames, about two minutes on one core
python bench/prompts.py --frames 8 --grid 7 --device cuda
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np  # noqa: E402
import torch  # noqa: E402
import torch.nn.functional as F  # noqa: E402
from PIL import Image, ImageDraw  # noqa: E402
from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel  # noqa: E402

from pipeline.context.encoders import DualEncoder, load_dual_encoder  # noqa: E402
from pipeline.context.prompts import PromptGrid  # noqa: E402
from pipeline.context.settings import Prompts  # noqa: E402
from pipeline.encoding.grid import positions  # noqa: E402
from pipeline.jobs.runtime import Runtime  # noqa: E402
from pipeline.store.code import PROJECT  # noqa: E402

TOKENIZER = PROJECT / "pipeline/demo/encoders/dual_encoder"


def random_vit_b16(folder: Path, layers: int) -> None:
    """A CLIP ViT-B/16 with random weights, a tiny text tower and a tokenizer, as a checkpoint."""
    torch.manual_seed(0)
    vision = {
        "hidden_size": 768,
        "intermediate_size": 3072,
        "num_hidden_layers": layers,
        "num_attention_heads": 12,
        "image_size": 224,
        "patch_size": 16,
    }
    text = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1}
    CLIPModel(CLIPConfig(vision_config=vision, text_config=text, projection_dim=512)).save_pretrained(folder)
    CLIPImageProcessor().save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((TOKENIZER / name).read_bytes())


def plain(encoder: DualEncoder, processor: CLIPImageProcessor, frames: np.ndarray, settings: Prompts) -> np.ndarray:
    """Embeddings ``[n, p, E]`` as one would write it first; the batch is a frame's prompts."""
    rows = []
    for frame in frames:
        prompts = []
        for y in positions(settings.grid[0], settings.placement, settings.radius):
            for x in positions(settings.grid[1], settings.placement, settings.radius):
                prompt = Image.fromarray(frame)
                cx, cy, r = round(x * 224), round(y * 224), settings.radius
                ImageDraw.Draw(prompt).ellipse((cx - r, cy - r, cx + r, cy + r), outline=(255, 0, 0), width=2)
                prompts.append(prompt)
        pixels = processor(images=prompts, return_tensors="pt")["pixel_values"].to(encoder.device)
        with torch.inference_mode():
            rows.append(F.normalize(encoder.project(pixels), dim=1).cpu().numpy())
    return np.stack(rows)


def seconds(work, repeats: int) -> float:
    """Shortest of some runs after one that warms up."""
    work()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=2)
    parser.add_argument("--grid", type=int, default=7)
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--layers", type=int, default=12, help="of the network; fewer only show that this runs")
    parser.add_argument("--rows", action="store_true", help="print rows of a table")
    arguments = parser.parse_args()
    settings = Prompts(grid=(arguments.grid, arguments.grid))
    frames = np.random.default_rng(0).integers(0, 256, (arguments.frames, 224, 224, 3), dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        random_vit_b16(Path(folder), arguments.layers)
        encoder = load_dual_encoder(folder)
        processor = CLIPImageProcessor.from_pretrained(folder)
    encoder.model.to(arguments.device)
    grid = PromptGrid(encoder, settings)
    batch = arguments.grid**2
    pictures = torch.from_numpy(frames).to(encoder.device)

    baseline = seconds(lambda: plain(encoder, processor, frames, settings), arguments.repeats)
    print(f"{torch.get_num_threads()} threads, {arguments.frames} frames of {batch} prompts, {encoder.device}")
    print(f"plain recipe                 {arguments.frames * batch / baseline:8.2f} prompts/s")
    reference = plain(encoder, processor, frames, settings)
    chosen = encoder.dtype
    for name in ("float32", "bfloat16"):
        encoder.runtime = Runtime(precision=name)
        took = seconds(lambda: grid.embed(frames, batch), arguments.repeats)
        prepare = seconds(lambda: [grid.pictures(picture[None]) for picture in pictures], 3)
        result = grid.embed(frames, batch).astype(np.float64)
        result /= np.linalg.norm(result, axis=-1, keepdims=True)
        cosine = (result * reference).sum(-1)
        if arguments.rows:
            speeds = f"{arguments.frames * batch / baseline:.1f} | {arguments.frames * batch / took:.1f} prompts/s"
            share = f"{baseline / took:.1f}× the plain recipe, preparing {prepare / (took - prepare):.1%}"
            print(f"| prompts: clip | {speeds} | {share}, {name}, cosine at least {cosine.min():.4f} |", flush=True)
        print(
            f"prompt grid, {name:<15} {arguments.frames * batch / took:8.2f} prompts/s"
            f" = {baseline / took:.2f}×, preparing {prepare / (took - prepare):.1%} of encoding,"
            f" cosine at least {cosine.min():.5f}" + ("   (what `auto` takes here)" if encoder.dtype == chosen else "")
        )


if __name__ == "__main__":
    main()
