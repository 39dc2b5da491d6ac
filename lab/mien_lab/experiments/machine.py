"""What figures were made on, for whoever makes them again.

Enters: nothing. Leaves: a few words on this machine, without its name.
"""

import os
import platform
from pathlib import Path

import torch


def machine_facts() -> dict[str, str]:
    """Operating system, processor, cores and GPU, by these names."""
    facts = {"system": platform.platform(), "cpu": _cpu(), "cores": str(os.cpu_count() or 1)}
    if torch.cuda.is_available():
        facts["gpu"] = torch.cuda.get_device_name()
    return facts


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
