"""How many people a detector finds in frames of real clips of several, and a sheet on which one can count them.

python bench/people.py FOLDER [--detector small/movenet-multipose] [--sheet people.png]

From every video below FOLDER so many frames are taken, evenly spread. A table gives the people found per frame above
some scores; the sheet has a row per video, with the boxes above the lowest of these scores.
"""

import argparse
import sys
from pathlib import Path

sys.path[0] = str(Path(__file__).resolve().parents[1])

import cv2  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402

from pipeline.data.entries import VIDEO_SUFFIXES  # noqa: E402
from pipeline.data.readers import open_video  # noqa: E402
from pipeline.motion.pose import load_detector  # noqa: E402
from pipeline.motion.pose.detector import in_pixels  # noqa: E402

LEVELS = (0.1, 0.2, 0.3)
COLUMN = 480  # pixels of the sheet


def drawn(frame: np.ndarray, persons: np.ndarray) -> np.ndarray:
    """A frame in the sheet's size, with boxes and scores."""
    scale = COLUMN / frame.shape[1]
    result = cv2.resize(frame, (COLUMN, round(frame.shape[0] * scale)), interpolation=cv2.INTER_AREA)
    for x0, y0, x1, y1, score in persons:
        colour = (0, 255, 0) if score > LEVELS[1] else (255, 200, 0)
        corners = [(round(x * scale), round(y * scale)) for x, y in ((x0, y0), (x1, y1))]
        cv2.rectangle(result, *corners, colour, 2)
        cv2.putText(result, f"{score:.2f}", corners[0], cv2.FONT_HERSHEY_SIMPLEX, 0.45, colour, 1, cv2.LINE_AA)
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--detector", default="small/movenet-multipose", help="hub id, folder, or of `fetch small`")
    parser.add_argument("--frames", type=int, default=3, help="of each video")
    parser.add_argument("--sheet", type=Path, help="picture to write")
    call = parser.parse_args()
    torch.set_num_threads(1)
    detector = load_detector(call.detector)
    rows, counts = [], []
    files = sorted(path for path in call.folder.rglob("*") if path.suffix.lower() in VIDEO_SUFFIXES)
    for path in files:
        with open_video(path) as video:
            at = np.linspace(0, video.n_frames - 1, call.frames + 2)[1:-1].round().astype(int)
            frames = video.frames(at)
        found = detector(detector.pixels(torch.from_numpy(frames))).numpy()
        found = [in_pixels(persons, *frames.shape[1:3]) for persons in found]
        counts.append([[int((persons[:, 4] > level).sum()) for level in LEVELS] for persons in found])
        print(f"{path.name}: " + ", ".join("/".join(map(str, of_frame)) for of_frame in counts[-1]))
        pictures = [drawn(frame, p[p[:, 4] > LEVELS[0]]) for frame, p in zip(frames, found, strict=True)]
        rows.append(np.hstack(pictures))
        cv2.putText(rows[-1], path.name, (6, 22), cv2.FONT_HERSHEY_SIMPLEX, 0.7, (255, 255, 255), 2, cv2.LINE_AA)
    above = [f"{mean:.1f} above {level:g}" for level, mean in zip(LEVELS, np.mean(counts, (0, 1)), strict=True)]
    print(f"people per frame, {len(files)} videos: " + ", ".join(above))
    if call.sheet:
        cv2.imwrite(str(call.sheet), np.vstack(rows)[..., ::-1])


if __name__ == "__main__":
    main()
