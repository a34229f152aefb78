from __future__ import annotations

import platform
import subprocess
import sys

from vtbench.training.reproducibility import keep_freed_memory

COUNT_FAULTS = """
import resource, torch
from vtbench.training.reproducibility import keep_freed_memory
def count_faults():
    [torch.zeros(2_000_000) for _ in range(4)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        [torch.zeros(2_000_000) for _ in range(4)]
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
print(count_faults(), keep_freed_memory(), count_faults())
"""


def test_memory_that_a_step_frees_is_there_for_the_next() -> None:
    if platform.libc_ver()[0] == "glibc":
        done = subprocess.run([sys.executable, "-c", COUNT_FAULTS], capture_output=True, text=True, check=True)
        plain, kept_on, kept = done.stdout.split()
        assert kept_on == "True"
        assert int(kept) < 0.2 * int(plain)


def test_other_systems_are_left_alone(monkeypatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    assert not keep_freed_memory()


LOADED_TO_TRAIN = """
import sys, torch, vtbench.models
from vtbench.configuration import ExecutionConfig
from vtbench.tasks import find_task
from vtbench.training import load_recipe
from vtbench.training.reproducibility import repeatable
from vtbench.models import create_model
from vtbench.profiling import count_costs
from vtbench.training.trainer import Trainer
count_costs("vt_resnet20:width=8,position=on", (32, 32), 3)
for variant, recipe in (("se_resnet20", "small"), ("fpn_resnet18:width=8", "segmentation_small")):
    recipe = load_recipe(recipe, epochs=1)
    model = create_model(variant, num_classes=3, image_size=32)
    task, execution = find_task(variant), ExecutionConfig(device="cpu")
    trainer = Trainer(model, task, recipe, execution, torch.device("cpu"), seed=0, batches_per_epoch=1)
    targets = torch.zeros((2, 32, 32) if "fpn" in variant else 2, dtype=torch.long)
    with repeatable(torch.device("cpu"), threads=1):
        trainer.train_batch(torch.randn(2, 3, 32, 32), targets)
    trainer.read_epoch()
print(sorted({"sympy", "torch._dynamo", "torchmetrics", "torchvision"} & set(sys.modules)))
"""


def test_counting_and_a_step_load_no_compiler_and_no_library_of_metrics_or_networks() -> None:
    """Together they take five seconds and 250 MB of every process that trains."""
    done = subprocess.run([sys.executable, "-c", LOADED_TO_TRAIN], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
