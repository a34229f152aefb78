"""The README's example for Kubernetes is what it says: YAML, a job of Ray, and a command that there is."""

import re
import shlex
from pathlib import Path
from typing import Any

from vtbench.cli.main import build_command

README = Path(__file__).parents[2] / "README.md"


def read_job() -> dict[str, Any]:
    import yaml

    (text,) = re.findall(r"```yaml\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    found: dict[str, Any] = yaml.safe_load(text)
    return found


def test_the_example_for_kubernetes_has_what_ray_asks_of_a_job_and_shares_one_folder() -> None:
    job = read_job()
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    folder = job["spec"]["entrypoint"].split()[1]
    for group in groups:
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        claimed = {volume["name"] for volume in pod["volumes"] if "persistentVolumeClaim" in volume}
        for container in pod["containers"]:
            assert container["name"] and container["image"]
            assert [(one["mountPath"], one["name"] in claimed) for one in container["volumeMounts"]] == [(folder, True)]
            assert "cpu" in container["resources"]["limits"]
    assert all(group["groupName"] and group["replicas"] > 0 for group in cluster["workerGroupSpecs"])


def test_the_command_of_the_example_is_one_that_vtbench_takes() -> None:
    words = shlex.split(read_job()["spec"]["entrypoint"].partition("&&")[2])
    assert words[:2] == ["vtbench", "ablate"]
    options = {name for parameter in build_command("ablate").params for name in parameter.opts}
    assert {word for word in words if word.startswith("--")} <= options
