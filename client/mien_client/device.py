"""Where training and prediction run: CUDA or CPU."""

import os

import torch

from mien_common.errors import SettingsError


def choose_device(wanted: str) -> torch.device:
    """The device to train on: CUDA where there is one, else the CPU.

    Raises
    ------
    SettingsError
        CUDA is demanded and there is none.
    """
    if wanted == "cuda" and not torch.cuda.is_available():
        raise SettingsError("the site asks for CUDA and there is no usable GPU. Set device to auto or cpu.")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    # cuDNN's and cuBLAS's default algorithms may sum in another order from run to run.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.backends.cudnn.deterministic = True
    torch.backends.cudnn.benchmark = False
    return torch.device("cuda")
