"""Checks rendered manifests: python check.py FILE...

First Kubernetes' own schema, strictly: a key or a kind that it does not know is a fault. Then
our rules on hardening, on what must be there for every workload, and on what refers to what.
Prints a line for each fault, and exits with 1 if there is any.
"""

import functools
import json
import sys

import kubernetes_validate
import yaml

# What clusters that are still supported have.
VERSION = "1.31"
# Services drain within it.
DRAIN_S = 20
# Where pods ask for names: the cluster's own DNS, and NodeLocal DNSCache, which is on the node.
DNS = {"kube-system": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "kube-system"}}},
       "NodeLocal DNSCache": {"ipBlock": {"cidr": "169.254.20.10/32"}}}
WORKLOADS = ("Deployment", "StatefulSet", "Job", "DaemonSet", "CronJob", "Pod")
SERVERS = ("Deployment", "StatefulSet")


def faults(documents):
    """All faults of one overlay, as lines of text."""
    found = [fault for one in documents for fault in schema(json.dumps(one, sort_keys=True))]
    # What has not the right shape cannot be looked into.
    if found:
        return found
    for one in documents:
        if one["kind"] in WORKLOADS:
            found += pod(one)
    return found + cluster(documents)


def name(one):
    return f"{one['kind']} {one['metadata']['name']}"


@functools.cache
def schema(text):
    """By a document's text, so that the same one is looked at once."""
    one = json.loads(text)
    where = f"{one.get('kind')} {one.get('metadata', {}).get('name')}"
    try:
        kubernetes_validate.validate(one, VERSION, strict=True)
    except (kubernetes_validate.SchemaNotFoundError, kubernetes_validate.InvalidSchemaError):
        return [f"{where}: no such kind in {one.get('apiVersion')} of Kubernetes {VERSION}"]
    except kubernetes_validate.ValidationError as error:
        path = ".".join(str(step) for step in error.path)
        return [f"{where}: {path}: {error.message}"]
    return []


def template(one):
    spec = one["spec"]
    if one["kind"] == "CronJob":
        spec = spec["jobTemplate"]["spec"]
    return one if one["kind"] == "Pod" else spec["template"]


def pod(one):
    """The rules for a pod and its containers."""
    spec = template(one)["spec"]
    security = spec.get("securityContext", {})
    rules = {
        "securityContext.runAsNonRoot is not true": security.get("runAsNonRoot") is True,
        "securityContext.runAsUser is root": security.get("runAsUser") != 0,
        "seccompProfile is not RuntimeDefault": security.get("seccompProfile", {}).get("type") == "RuntimeDefault",
        "automountServiceAccountToken is not false": spec.get("automountServiceAccountToken") is False,
    }
    for host in ("hostNetwork", "hostPID", "hostIPC"):
        rules[f"{host} is true"] = not spec.get(host)
    for volume in spec.get("volumes", []):
        rules[f"volume {volume['name']} is a hostPath"] = "hostPath" not in volume
    if one["kind"] in SERVERS:
        grace = spec.get("terminationGracePeriodSeconds", 30)
        pause = max((sleep(c) for c in spec["containers"]), default=0)
        rules[f"terminationGracePeriodSeconds is {grace}, shorter than a drain"] = grace >= DRAIN_S + pause
    found = [f"{name(one)}: {rule}" for rule, held in rules.items() if not held]
    for container in spec["containers"] + spec.get("initContainers", []):
        served = one["kind"] in SERVERS and container in spec["containers"]
        found += [f"{name(one)}: container {container['name']}: {rule}" for rule in unheld(container, served)]
    return found


def sleep(container):
    return container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)


def unheld(container, served):
    security = container.get("securityContext", {})
    capabilities = security.get("capabilities", {})
    resources = container.get("resources", {})
    image = container["image"].rsplit("/", 1)[-1]
    _, _, tag = image.partition(":")
    rules = {
        "allowPrivilegeEscalation is not false": security.get("allowPrivilegeEscalation") is False,
        "readOnlyRootFilesystem is not true": security.get("readOnlyRootFilesystem") is True,
        "privileged": not security.get("privileged"),
        "runAsNonRoot is false": security.get("runAsNonRoot") is not False,
        "capabilities.drop is not [ALL]": capabilities.get("drop") == ["ALL"],
        "capabilities.add": not capabilities.get("add"),
        "the image has no tag of its own": "@" in image or tag not in ("", "latest"),
        "hostPort": not any("hostPort" in port for port in container.get("ports", [])),
    }
    for kind in ("requests", "limits"):
        for what in ("cpu", "memory"):
            rules[f"resources.{kind}.{what} is missing"] = what in resources.get(kind, {})
    if served:
        for probe in ("readinessProbe", "livenessProbe"):
            rules[f"{probe} is missing"] = probe in container
    return [rule for rule, held in rules.items() if not held]


def cluster(documents):
    """The rules for what belongs together."""
    of = lambda *kinds: [one for one in documents if one["kind"] in kinds]
    workloads = of(*WORKLOADS)
    found = []
    for one in of("Namespace"):
        if one["metadata"].get("labels", {}).get("pod-security.kubernetes.io/enforce") != "restricted":
            found.append(f"{name(one)}: pods are not held to the restricted standard")
    if not of("Namespace"):
        found.append("there is no Namespace")
    found += [f"{name(one)}: a secret in a manifest" for one in of("Secret")]
    found += policies(workloads, of("NetworkPolicy"))
    for one in of("Deployment", "StatefulSet"):
        if not any(selects(budget["spec"]["selector"], one) for budget in of("PodDisruptionBudget")):
            found.append(f"{name(one)}: no PodDisruptionBudget")
    found += references(documents, workloads, of)
    return found


def policies(workloads, policies):
    found = []
    deny = [p for p in policies if p["spec"]["podSelector"] == {} and not p["spec"].get("ingress") and not p["spec"].get("egress")]
    if not any(set(p["spec"].get("policyTypes", [])) == {"Ingress", "Egress"} for p in deny):
        found.append("there is no NetworkPolicy that denies everything by default")
    allow = [p for p in policies if p["spec"]["podSelector"] != {}]
    for one in workloads:
        if not any(selects(p["spec"]["podSelector"], one) for p in allow):
            found.append(f"{name(one)}: no NetworkPolicy of its own")
    for one in allow:
        if not any(selects(one["spec"]["podSelector"], w) for w in workloads):
            found.append(f"{name(one)}: selects no pod")
    return found + names(workloads, policies)


def names(workloads, policies):
    """Who may ask for names may ask all who answer, by both protocols; and every pod may."""
    found, asking = [], []
    for policy in policies:
        rules = [rule for rule in policy["spec"].get("egress") or [] if any(port.get("port") == 53 for port in rule.get("ports", []))]
        if rules:
            asking.append(policy)
        for whom, peer in DNS.items():
            for protocol in ("UDP", "TCP"):
                port = {"port": 53, "protocol": protocol}
                if rules and not any(port in rule["ports"] and ("to" not in rule or peer in rule["to"]) for rule in rules):
                    found.append(f"{name(policy)}: allows DNS, but not {whom} by {protocol}")
    for one in workloads:
        if not any(selects(policy["spec"]["podSelector"], one) for policy in asking):
            found.append(f"{name(one)}: may not ask for names")
    return found


def references(documents, workloads, of):
    found = []
    services = {one["metadata"]["name"]: one for one in of("Service")}
    for one in services.values():
        behind = [w for w in workloads if w["kind"] in SERVERS and selects({"matchLabels": one["spec"]["selector"]}, w, ordinals=True)]
        if not behind:
            found.append(f"{name(one)}: selects no pod")
        ports = {p["name"] for w in behind for c in template(w)["spec"]["containers"] for p in c.get("ports", [])}
        found += [f"{name(one)}: port {p['targetPort']} is nobody's" for p in one["spec"]["ports"] if behind and p["targetPort"] not in ports]
    for one in of("Ingress"):
        for rule in one["spec"]["rules"]:
            for path in rule["http"]["paths"]:
                to = path["backend"]["service"]
                there = services.get(to["name"], {"spec": {"ports": []}})["spec"]["ports"]
                if to["port"]["name"] not in [p["name"] for p in there]:
                    found.append(f"{name(one)}: {rule['host']}{path['path']} leads to no Service {to['name']}:{to['port']['name']}")
    for one in of("HorizontalPodAutoscaler"):
        target = one["spec"]["scaleTargetRef"]
        if not any(w["kind"] == target["kind"] and w["metadata"]["name"] == target["name"] for w in workloads):
            found.append(f"{name(one)}: there is no {target['kind']} {target['name']}")
        if target["kind"] == "StatefulSet":
            for number in range(one["spec"]["maxReplicas"]):
                if f"{target['name']}-{number}" not in services:
                    found.append(f"{name(one)}: no Service for {target['name']}-{number}")
    configs = {one["metadata"]["name"] for one in of("ConfigMap")}
    for one in workloads:
        for container in template(one)["spec"]["containers"]:
            wanted = [source["configMapRef"] for source in container.get("envFrom", []) if "configMapRef" in source]
            wanted += [e["valueFrom"]["configMapKeyRef"] for e in container.get("env", []) if "configMapKeyRef" in e.get("valueFrom", {})]
            found += [f"{name(one)}: there is no ConfigMap {w['name']}" for w in wanted if w["name"] not in configs]
    return found


def selects(selector, one, ordinals=False):
    """Whether a selector is for the pods of a workload; `ordinals`: or for one of a StatefulSet's."""
    labels = dict(template(one)["metadata"].get("labels", {}))
    for key, value in selector.get("matchLabels", {}).items():
        if ordinals and key == "statefulset.kubernetes.io/pod-name" and one["kind"] == "StatefulSet":
            if value.rsplit("-", 1)[0] != one["metadata"]["name"]:
                return False
        elif labels.get(key) != value:
            return False
    for expression in selector.get("matchExpressions", []):
        if (labels.get(expression["key"]) in expression.get("values", [])) != (expression["operator"] == "In"):
            return False
    return True


def read(path):
    with open(path, encoding="utf-8") as file:
        return [one for one in yaml.safe_load_all(file) if one]


def main(paths):
    count, found = 0, []
    for path in paths:
        documents = read(path)
        count += len(documents)
        found += [f"{path.rsplit('/', 1)[-1]}: {fault}" for fault in faults(documents)]
    for fault in found:
        print(f"k8s: {fault}", file=sys.stderr)
    if not count:
        print("k8s: nothing to check", file=sys.stderr)
    print(f"k8s: {count} manifests, {len(found)} faults")
    return 1 if found or not count else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
