"""Run by the Python of an environment with MMPose: a random checkpoint, and what MMPose's own pipeline makes of it.

    python mmpose_oracle.py FOLDER    # holds frame.npy (uint8, RGB) and boxes.npy (x0, y0, x1, y1)

Writes the checkpoint as MMEngine's training does, where its config lies, the crops that MMPose cuts, and its joints.
"""

import logging
import runpy
import sys
from pathlib import Path

import numpy as np
import torch

PROJECT = Path(__file__).resolve().parents[3]
worker = runpy.run_path(str(PROJECT / "pipeline/motion/pose/mmpose_worker.py"))
mmpose = worker["_mmpose"]()
logging.disable()

from mmengine.config import Config  # noqa: E402
from mmengine.dataset import Compose  # noqa: E402
from mmengine.logging import HistoryBuffer  # noqa: E402
from mmpose.registry import MODELS  # noqa: E402
from mmpose.structures import PoseDataSample  # noqa: E402, F401 — registered by its import

folder = Path(sys.argv[1])
path = Path(mmpose.__file__).parent / ".mim/configs/body_2d_keypoint/rtmpose/coco/rtmpose-t_8xb256-420e_coco-256x192.py"
config = Config.fromfile(path)
config.model.backbone.init_cfg = None  # a URL
config.model.backbone._scope_ = "mmpose"  # MMDetection's network, which MMPose holds too
torch.manual_seed(0)
network = MODELS.build(config.model).eval()
network.init_weights()
losses = HistoryBuffer()
losses.update(1.0)
notes = {"sigmas": np.ones(17, np.float32), "colours": np.zeros((17, 3), np.uint8)}
content = {
    "meta": {"dataset_meta": notes},
    "state_dict": network.state_dict(),
    "message_hub": {"log_scalars": {"loss": losses}, "runtime_info": {"lr": np.float64(1)}},
}
torch.save(content, folder / "random.pth")
(folder / "config.txt").write_text(str(path))

frame, boxes = np.load(folder / "frame.npy"), np.load(folder / "boxes.npy")
cut = Compose([step for step in config.val_pipeline if step["type"] != "LoadImage"])
mirrored = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
found = {"crops": [], "plain": [], "flipped": []}
for flip in (False, True):
    network.test_cfg["flip_test"] = flip
    for box in boxes:
        about = {"img": frame[..., ::-1].copy(), "img_shape": frame.shape[:2], "flip_indices": mirrored, "img_id": 0}
        item = cut(dict(about, bbox=box[None], bbox_score=np.ones(1, np.float32), img_path="", id=0))
        with torch.no_grad():
            joints = network.test_step({"inputs": [item["inputs"]], "data_samples": [item["data_samples"]]})
        result = joints[0].pred_instances
        row = np.concatenate([result.keypoints[0], result.keypoint_scores[0][:, None]], 1)
        found["flipped" if flip else "plain"].append(row)
        if not flip:
            found["crops"].append(item["inputs"].numpy()[::-1])
np.savez(folder / "expected.npz", **{name: np.stack(rows) for name, rows in found.items()})
