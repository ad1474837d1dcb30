"""The manifest for Kubernetes agrees with the program that it runs."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from ray.scripts.scripts import start as ray_start

from octabox.cli.main import cli
from octabox.cli.serve import command as serve
from octabox.engine.ray.resources import ACCELERATOR_BYTES, card_bytes, needed_bytes, replica_need

#: A version of Kubernetes that is older than those in support.
VERSION = "1.30.0"

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"


def documents() -> dict[str, dict[str, Any]]:
    """Return the documents of the manifest by their kind."""
    found = yaml.safe_load_all((FOLDER / "raycluster.yaml").read_text(encoding="utf-8"))
    return {each["kind"]: each for each in found}


def containers() -> dict[str, dict[str, Any]]:
    """Return the container of each group of pods."""
    spec = documents()["RayCluster"]["spec"]
    groups = [("head", spec["headGroupSpec"]), *((each["groupName"], each) for each in spec["workerGroupSpecs"])]
    return {name: group["template"]["spec"]["containers"][0] for name, group in groups}


def declared_resources() -> dict[str, int]:
    """Return the resources of the nodes with accelerators, as Ray's autoscaler reads those of a group of the operator."""
    *_, accelerators = documents()["RayCluster"]["spec"]["workerGroupSpecs"]
    found: dict[str, int] = json.loads(accelerators["rayStartParams"]["resources"][1:-1].replace("\\", ""))
    return found


def validate(document: dict[str, Any]) -> None:
    """Check a document by the schemas of Kubernetes; unknown keys are errors."""
    kubernetes_validate.validate(document, VERSION, strict=True)


def test_documents_and_pods_have_the_schemas_of_kubernetes() -> None:
    """The cluster itself is of the operator; its groups hold templates of pods."""
    found = documents()
    spec = found.pop("RayCluster")["spec"]
    assert found
    for each in found.values():
        validate(each)
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        validate({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": group["template"]})


def test_a_wrong_key_of_a_pod_is_found() -> None:
    """The schemas do check templates."""
    containers = [{"name": "x", "image": "x", "commands": []}]
    template = {"spec": {"containers": containers}}

    with pytest.raises(kubernetes_validate.ValidationError):
        validate({"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "x"}, "template": template})


def test_all_pods_have_one_image_and_start_ray() -> None:
    """Versions of nodes must not differ, and the command is the operator's."""
    found = containers()

    assert 1 == len({each["image"] for each in found.values()})
    assert all("$KUBERAY_GEN_RAY_START_CMD" in each["args"][0] for each in found.values())
    assert "true" == documents()["RayCluster"]["metadata"]["annotations"]["ray.io/overwrite-container-cmd"]


def test_the_flags_of_the_server_exist() -> None:
    """Each flag in the manifest is an option of `octabox serve`."""
    line = containers()["servers"]["args"][0].splitlines()[-1]
    flags = [word for word in shlex.split(line) if word.startswith("--")]
    options = {name for option in serve.params for name in option.opts}

    assert {"--engine", "--ray-address", "--cluster-grows"} <= set(flags) <= options
    assert cli.get_command(None, "cluster") is not None  # type: ignore[arg-type]


def test_probes_need_nothing_that_the_image_lacks() -> None:
    """Where one is missing, the operator adds its own, which calls wget and the dashboard; ports are those that Ray has."""
    spec, found = documents()["RayCluster"]["spec"], containers()
    node_port = int(spec["workerGroupSpecs"][1]["rayStartParams"]["node-manager-port"])
    options = {name for option in ray_start.params for name in option.opts}
    probes = {name: [each[f"{kind}Probe"] for kind in ("readiness", "liveness")] for name, each in found.items()}

    assert [{"port": 6379}] * 2 == [each["tcpSocket"] for each in probes["head"]]
    assert [{"port": node_port}] * 2 == [each["tcpSocket"] for each in probes["accelerators"]]
    assert ["/readyz", "/healthz"] == [each["httpGet"]["path"] for each in probes["servers"]]
    assert "--node-manager-port" in options


def test_models_reserve_accelerators_that_are_yet_to_be_added() -> None:
    """While the cluster has none, a model without a device would reserve a CPU, and use an accelerator of the node for that."""
    words = shlex.split(containers()["servers"]["args"][0].splitlines()[-1])
    device = words[words.index("--device") + 1]

    assert {"GPU": 1.0} == replica_need(device, 10**9, [{"CPU": 8.0}]).resources()


def test_the_image_has_what_the_manifest_needs() -> None:
    """The version of Ray is that of the manifest; the guide builds it with a torch for accelerators, and the store of jobs."""
    version = documents()["RayCluster"]["spec"]["rayVersion"]
    constraints = (FOLDER.parents[1] / "constraints.txt").read_text(encoding="utf-8").splitlines()
    image = (FOLDER / "Dockerfile").read_text(encoding="utf-8")
    guide = (FOLDER.parents[1] / "docs" / "guides" / "cluster.md").read_text(encoding="utf-8").split("## Kubernetes")[1]
    arguments = set((FOLDER.parent / "Dockerfile").read_text(encoding="utf-8").split())

    assert f"ray=={version}" in constraints
    assert "--constraint /tmp/constraints.txt" in image
    assert "--build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu" in guide
    assert "--build-arg EXTRAS='[postgres]'" in guide
    assert 'EXTRAS=""' in arguments


def test_models_run_only_where_they_are_mounted() -> None:
    """The head and the servers reserve no CPU for models; the accelerators start from none."""
    spec = documents()["RayCluster"]["spec"]
    servers, accelerators = spec["workerGroupSpecs"]

    assert "0" == spec["headGroupSpec"]["rayStartParams"]["num-cpus"] == servers["rayStartParams"]["num-cpus"]
    assert 0 == accelerators["minReplicas"] < accelerators["maxReplicas"]
    assert ["/models", "/cache", "/files"] == [
        each["mountPath"] for each in containers()["accelerators"]["volumeMounts"]
    ]


def test_models_share_accelerators() -> None:
    """The bytes are declared as the operator and Ray read them; a small model reserves a share, and a large one all."""
    *_, accelerators = documents()["RayCluster"]["spec"]["workerGroupSpecs"]
    declared = declared_resources()
    # The operator writes the value into a command of the shell.
    (argument,) = shlex.split(f"--resources={accelerators['rayStartParams']['resources']}")
    nodes = [{"GPU": 1.0, "CPU": 8.0, **{name: float(value) for name, value in declared.items()}}]

    assert declared == json.loads(argument.removeprefix("--resources="))
    assert {ACCELERATOR_BYTES} == set(declared)
    (card,) = (card_bytes(node) for node in nodes)
    small, large = (replica_need("accelerator", None, nodes, needed_bytes(gib * 2**30)) for gib in (4, 20))
    assert 0 < small.resources(card)["GPU"] <= 0.5
    assert {"GPU": 1.0} == large.resources(card)
    # Cards of 24 GB state no more than 22.5 GiB where they correct errors of their memory.
    assert declared[ACCELERATOR_BYTES] <= 22.5 * 2**30


def test_servers_and_nodes_see_the_same_files() -> None:
    """Each pod that serves or runs models mounts the file store in the same place, from one claim, for several servers."""
    words = shlex.split(containers()["servers"]["args"][0].splitlines()[-1])
    store = words[words.index("--file-store") + 1]
    claims = set()
    for group in documents()["RayCluster"]["spec"]["workerGroupSpecs"]:
        spec = group["template"]["spec"]
        (mount,) = [each for each in spec["containers"][0]["volumeMounts"] if each["mountPath"] == store]
        (volume,) = [each for each in spec["volumes"] if each["name"] == mount["name"]]
        claims.add(volume["persistentVolumeClaim"]["claimName"])
        assert not mount.get("readOnly")
        assert 10001 == spec["securityContext"]["fsGroup"]

    assert 1 == len(claims)
    assert "OCTABOX_JOB_STORE" in {each["name"] for each in containers()["servers"]["env"]}
    assert "ClientIP" == documents()["Service"]["spec"]["sessionAffinity"]


def test_the_guide_lists_what_must_be_changed() -> None:
    """Each claim and the declared bytes, with the value of the manifest."""
    guide = (FOLDER.parents[1] / "docs" / "guides" / "cluster.md").read_text(encoding="utf-8").split("## Kubernetes")[1]
    *_, accelerators = documents()["RayCluster"]["spec"]["workerGroupSpecs"]
    volumes = accelerators["template"]["spec"]["volumes"]
    claims = [each["persistentVolumeClaim"]["claimName"] for each in volumes if "persistentVolumeClaim" in each]
    (declared,) = declared_resources().values()

    assert all(f"`{name}`" in guide for name in claims)
    assert str(declared) in guide
    assert "`job-store`" in guide


def test_the_service_finds_the_servers() -> None:
    """Its selector is the label of the pods, and its port that of the container."""
    service, cluster = documents()["Service"], documents()["RayCluster"]
    labels = cluster["spec"]["workerGroupSpecs"][0]["template"]["metadata"]["labels"]

    assert service["spec"]["selector"].items() <= labels.items()
    assert service["spec"]["ports"][0]["targetPort"] in {each["name"] for each in containers()["servers"]["ports"]}


def test_a_client_reaches_the_same_server_each_time() -> None:
    """Options and progress of the A1111 API are in the memory of one server, of which there may be several."""
    assert "ClientIP" == documents()["Service"]["spec"]["sessionAffinity"]
