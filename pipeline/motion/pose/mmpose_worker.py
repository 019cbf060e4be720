"""The network of an MMPose checkpoint, run by the Python of an environment that has MMPose; the caller is `MMPose`.

    python mmpose_worker.py describe CONFIG        # runs the config, which is Python, and answers with what it says
    python mmpose_worker.py measure FOLDER         # a converted checkpoint: how large and how fast its network is
    python mmpose_worker.py serve FOLDER DEVICE    # the same: pictures in, poses out; runs no config

That environment has neither this project nor its packages, and may be an older one (Python 3.8): what is imported here
is torch, numpy, safetensors and MMPose. Nothing is unpickled. Headers come and go as JSON, arrays as raw bytes.
"""

import json
import os
import sys
import time
import types

if __name__ == "__main__":
    sys.path.pop(0)  # the folder of this script, whose modules have names of other packages

import numpy as np
import torch

LENGTH_BYTES = 8
# Persons at once, and how often, when the speed of a network is measured.
MEASURED, REPEATS = 8, 3
# What a model says of training, other files and other packages: MMEngine unpickles files and runs metadata as Python.
LEFT_OUT = ("init_cfg", "pretrained", "metainfo", "train_cfg", "_scope_")
# Whole packages that a few networks need, and every import of MMPose asks for. mmcv-lite has no compiled operations.
OPTIONAL = ("mmcv.ops", "mmdet", "mmdet.utils")


class Refused(Exception):
    """What cannot be done, in words for who must act."""


class _Absent(types.ModuleType):
    """A package that is not there; what is taken from it says so when it is used."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def refuse(network, *_, **__):
            raise Refused(f"this network needs {name} of {self.__name__}, which this environment does not have")

        return type(name, (torch.nn.Module,), {"__init__": refuse})


def _mmpose():
    for name in OPTIONAL:
        try:
            __import__(name)
        except ImportError:
            sys.modules[name] = _Absent(name)
    import mmpose.models
    from mmengine.registry import init_default_scope

    init_default_scope("mmpose")
    return mmpose


def _cleaned(part):
    """A part of a model's description as JSON has it, without `LEFT_OUT`."""
    if isinstance(part, dict):
        return {str(name): _cleaned(value) for name, value in part.items() if name not in LEFT_OUT}
    if isinstance(part, (list, tuple)):
        return [_cleaned(value) for value in part]
    if part is None or isinstance(part, (bool, int, float, str)):
        return part
    if isinstance(part, np.ndarray):
        return part.tolist()
    raise Refused(f"the model is described by a {type(part).__name__}, which is no plain value; write its name as text")


def describe(path):
    """What ``config.json`` of a converted checkpoint says: the model, and how pictures are cut for it."""
    mmpose = _mmpose()
    from mmengine.config import Config

    config = Config.fromfile(path)
    model = _cleaned(config.model.to_dict())
    if model.get("type") != "TopdownPoseEstimator":
        raise Refused(f"it describes a {model.get('type')}; only a TopdownPoseEstimator poses the person in a box")
    pipeline = config.test_dataloader.dataset.pipeline
    affine = next((step for step in pipeline if step["type"] == "TopdownAffine"), None)
    if affine is None:
        raise Refused("its test pipeline has no TopdownAffine, so what the network sees of a box is not known")
    return {
        "model_type": "mmpose",
        "mmpose": mmpose.__version__,
        "input_size": [int(side) for side in affine["input_size"]],
        "use_udp": bool(affine.get("use_udp", False)),
        "model": model,
    }


def _check_types(part, known):
    """Networks are named, never imported: MMEngine would import whatever a dotted name says."""
    if isinstance(part, dict):
        name = part.get("type")
        if name is not None and name not in known:
            raise Refused(f"config.json names `{name}`, which is neither a part of MMPose nor of MMCV")
        part = list(part.values())
    if isinstance(part, list):
        for value in part:
            _check_types(value, known)


class Network:
    """A converted checkpoint, ready for pictures.

    Args:
        folder: with config.json and model.safetensors; device: such as cuda:0.
    """

    def __init__(self, folder, device):
        _mmpose()
        from mmengine.registry import MODELS as EVERYBODYS
        from mmpose.registry import KEYPOINT_CODECS, MODELS
        from mmpose.structures import PoseDataSample
        from safetensors.torch import load_file

        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        known = {name for registry in (EVERYBODYS, MODELS, KEYPOINT_CODECS) for name in registry.module_dict}
        _check_types(config["model"], known)
        self.device, self.size, self._sample = torch.device(device), config["input_size"], PoseDataSample
        self.model = MODELS.build(_cleaned(config["model"])).eval().requires_grad_(False)
        state = load_file(os.path.join(folder, "model.safetensors"))
        try:
            missing, surplus = self.model.load_state_dict(state, strict=False)
        except RuntimeError as error:  # shapes
            missing, surplus = [], [str(error).splitlines()[-1].strip()]
        odd = [key for key in missing if not key.endswith("num_batches_tracked")] + list(surplus)
        if odd:
            raise Refused(
                f"weights and config do not fit in {len(odd)} places, for example {odd[0]}; take the config that they "
                f"were trained with"
            )
        self.model.to(self.device)
        side = self.size[1], self.size[0]
        self.n_joints = self.poses(np.zeros((1, 3, *side), np.uint8), None).shape[1]

    def poses(self, pictures, mirrored):
        """Joints in pixels of each picture, and confidences: float32 ``[n, J, 3]``.

        Args:
            pictures: uint8 RGB ``[n, 3, height, width]``; mirrored: joint → joint of the mirror image, for the mean of
                both, or None.
        """
        size = np.array(self.size, np.float32)
        samples = []
        for _ in pictures:
            sample = self._sample(metainfo={"input_center": size / 2, "input_scale": size, "input_size": size})
            sample.set_metainfo({"flip_indices": mirrored})
            sample.gt_instances = _instances()
            samples.append(sample)
        # MMPose's own cutting gives BGR, and its preprocessor turns that round.
        batch = [torch.from_numpy(np.ascontiguousarray(picture[::-1])).to(self.device) for picture in pictures]
        self.model.test_cfg["flip_test"] = mirrored is not None
        with torch.no_grad():
            found = self.model.test_step({"inputs": batch, "data_samples": samples})
        rows = [item.pred_instances for item in found]
        joints = [np.asarray(_array(row.keypoints), np.float32)[0, :, :2] for row in rows]
        sure = [np.asarray(_array(row.keypoint_scores), np.float32)[0] for row in rows]
        return np.concatenate([np.stack(joints), np.stack(sure)[..., None]], 2).astype(np.float32)


def measure(folder):
    """Billions of multiply-adds of a person's picture, None where this torch cannot count, and seconds of one core."""
    torch.set_num_threads(1)
    network = Network(folder, "cpu")
    pictures = np.zeros((MEASURED, 3, network.size[1], network.size[0]), np.uint8)
    seconds = []
    for _ in range(REPEATS):
        began = time.process_time()
        network.poses(pictures, None)
        seconds.append(time.process_time() - began)
    try:
        from torch.utils.flop_counter import FlopCounterMode
    except ImportError:
        counted = None
    else:
        with FlopCounterMode(display=False) as counter:
            network.poses(pictures, None)
        counted = round(counter.get_total_flops() / 2e9 / MEASURED, 3)
    return {"multiply_adds": counted, "seconds": round(min(seconds) / MEASURED, 4)}


def _instances():
    from mmengine.structures import InstanceData

    return InstanceData(bboxes=np.zeros((1, 4), np.float32), bbox_scores=np.ones(1, np.float32))


def _array(values):
    return values.cpu().numpy() if isinstance(values, torch.Tensor) else values


def _send(pipe, header, array=None):
    if array is not None:
        header = dict(header, shape=list(array.shape))
    text = json.dumps(header).encode()
    pipe.write(len(text).to_bytes(LENGTH_BYTES, "big") + text)
    if array is not None:
        pipe.write(np.ascontiguousarray(array).tobytes())
    pipe.flush()


def _serve(folder, device, requests, answers):
    network = Network(folder, device)
    versions = {name: sys.modules[name].__version__ for name in ("mmpose", "mmcv", "mmengine", "torch")}
    _send(answers, {"n_joints": network.n_joints, "versions": versions})
    while True:
        line = requests.readline()
        if not line:
            return
        request = json.loads(line)
        count = int(np.prod(request["shape"]))
        pictures = np.frombuffer(requests.read(count), np.uint8).reshape(request["shape"])
        try:
            _send(answers, {}, network.poses(pictures, request["mirrored"]))
        except RuntimeError as error:
            if "out of memory" not in str(error):
                raise
            torch.cuda.empty_cache()
            _send(answers, {"out_of_memory": str(error)})


def main():
    # Libraries print; what they print must not get between the answers.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        if sys.argv[1] == "describe":
            _send(answers, describe(sys.argv[2]))
        elif sys.argv[1] == "measure":
            _send(answers, measure(sys.argv[2]))
        else:
            _serve(sys.argv[2], sys.argv[3], sys.stdin.buffer, answers)
    except Exception as error:
        import traceback

        traceback.print_exc()
        words = str(error) if isinstance(error, Refused) else f"{type(error).__name__}: {error}"
        _send(answers, {"refused": words.strip().splitlines()[0]})


if __name__ == "__main__":
    main()
