"""Plants faults in a good overlay, one after another: each must be found and named.
RENDERED says which overlay; `k8s/check` runs this."""

import copy
import os
import unittest

import check


class Planted(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.good = check.read(os.environ["RENDERED"])

    def setUp(self):
        self.documents = copy.deepcopy(self.good)

    def one(self, kind, name):
        return next(d for d in self.documents if d["kind"] == kind and d["metadata"]["name"] == name)

    def pod(self, name="seeder", kind="StatefulSet"):
        return self.one(kind, name)["spec"]["template"]["spec"]

    def drop(self, kind, name):
        self.documents.remove(self.one(kind, name))

    def assert_found(self, *words):
        found = check.faults(self.documents)
        self.assertTrue(any(all(word in fault for word in words) for fault in found), found)

    def test_the_overlay_itself_is_good(self):
        self.assertEqual(check.faults(self.documents), [])

    def test_a_key_that_is_not_known(self):
        self.pod()["containers"][0]["comand"] = ["x"]
        self.assert_found("StatefulSet seeder", "comand")

    def test_a_value_of_the_wrong_type(self):
        self.pod()["terminationGracePeriodSeconds"] = "long"
        self.assert_found("StatefulSet seeder", "terminationGracePeriodSeconds")

    def test_a_kind_that_is_not_known(self):
        self.documents.append({"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "m"}})
        self.assert_found("PodMonitor m", "no such kind")
        self.one("Deployment", "accounts")["apiVersion"] = "apps/v1beta1"
        self.assert_found("Deployment accounts", "no such kind")

    def test_what_a_container_may_not(self):
        for change, words in {
            ("securityContext", "allowPrivilegeEscalation", True): "allowPrivilegeEscalation",
            ("securityContext", "readOnlyRootFilesystem", False): "readOnlyRootFilesystem",
            ("securityContext", "privileged", True): "privileged",
            ("securityContext", "runAsNonRoot", False): "runAsNonRoot",
        }.items():
            with self.subTest(words):
                self.setUp()
                self.pod()["containers"][0][change[0]][change[1]] = change[2]
                self.assert_found("StatefulSet seeder: container service", words)

    def test_capabilities(self):
        self.pod()["containers"][0]["securityContext"]["capabilities"] = {"drop": ["NET_RAW"]}
        self.assert_found("capabilities.drop")
        self.pod()["containers"][0]["securityContext"]["capabilities"] = {"drop": ["ALL"], "add": ["NET_ADMIN"]}
        self.assert_found("capabilities.add")

    def test_what_a_pod_may_not(self):
        for key, value in {"hostNetwork": True, "hostPID": True, "automountServiceAccountToken": True}.items():
            with self.subTest(key):
                self.setUp()
                self.pod()[key] = value
                self.assert_found("StatefulSet seeder", key)
        for key, value in {"runAsNonRoot": False, "runAsUser": 0, "seccompProfile": {"type": "Unconfined"}}.items():
            with self.subTest(key):
                self.setUp()
                self.pod()["securityContext"][key] = value
                self.assert_found("StatefulSet seeder", key)

    def test_the_hosts_own(self):
        self.pod()["volumes"].append({"name": "root", "hostPath": {"path": "/"}})
        self.assert_found("volume root is a hostPath")
        self.setUp()
        self.pod()["containers"][0]["ports"][0]["hostPort"] = 4433
        self.assert_found("hostPort")

    def test_an_init_container_is_looked_at_too(self):
        self.pod()["initContainers"] = [{"name": "first", "image": "busybox:1"}]
        self.assert_found("container first", "readOnlyRootFilesystem")

    def test_limits_probes_tags_and_the_drain(self):
        del self.pod()["containers"][0]["resources"]["limits"]["memory"]
        self.assert_found("resources.limits.memory")
        del self.pod()["containers"][0]["readinessProbe"]
        self.assert_found("readinessProbe")
        for image in ("livestation", "livestation:latest", "registry.example:5000/livestation"):
            self.pod()["containers"][0]["image"] = image
            self.assert_found("no tag")
        self.pod()["terminationGracePeriodSeconds"] = 20
        self.assert_found("shorter than a drain")

    def test_the_job_is_looked_at_too(self):
        self.pod("migrate", "Job")["containers"][0]["securityContext"]["readOnlyRootFilesystem"] = False
        self.assert_found("Job migrate", "readOnlyRootFilesystem")

    def test_the_namespace(self):
        self.one("Namespace", "livestation")["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] = "baseline"
        self.assert_found("Namespace livestation", "restricted")

    def test_network_policies(self):
        self.drop("NetworkPolicy", "default-deny")
        self.assert_found("denies everything")
        self.setUp()
        self.one("NetworkPolicy", "default-deny")["spec"]["egress"] = [{}]
        self.assert_found("denies everything")
        self.setUp()
        self.drop("NetworkPolicy", "seeder")
        self.assert_found("StatefulSet seeder: no NetworkPolicy")

    def test_names(self):
        asks = lambda: self.one("NetworkPolicy", "names")["spec"]["egress"][0]
        del asks()["to"][1]
        self.assert_found("NetworkPolicy names", "NodeLocal DNSCache by UDP")
        self.setUp()
        del asks()["to"][0]
        self.assert_found("NetworkPolicy names", "kube-system by TCP")
        self.setUp()
        del asks()["ports"][1]
        self.assert_found("NetworkPolicy names", "NodeLocal DNSCache by TCP")
        self.setUp()
        self.one("NetworkPolicy", "names")["spec"]["podSelector"] = {"matchLabels": {"app.kubernetes.io/component": "seeder"}}
        self.assert_found("Deployment accounts: may not ask for names")

    def test_a_policy_that_allows_dns_besides(self):
        self.one("NetworkPolicy", "seeder")["spec"]["egress"].append(
            {"to": [{"namespaceSelector": {}}], "ports": [{"port": 53, "protocol": "UDP"}]})
        self.assert_found("NetworkPolicy seeder", "NodeLocal DNSCache")

    def test_a_secret(self):
        self.documents.append({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}, "stringData": {"a": "b"}})
        self.assert_found("Secret s")

    def test_what_leads_nowhere(self):
        self.drop("PodDisruptionBudget", "encoder")
        self.assert_found("Deployment encoder: no PodDisruptionBudget")
        self.drop("Service", "tracker-3")
        self.assert_found("Ingress livestation", "tracker-3")
        self.assert_found("HorizontalPodAutoscaler tracker", "tracker-3")
        self.one("HorizontalPodAutoscaler", "ingest")["spec"]["scaleTargetRef"]["name"] = "ingests"
        self.assert_found("no Deployment ingests")
        self.one("Service", "accounts")["spec"]["selector"] = {"app": "other"}
        self.assert_found("Service accounts: selects no pod")
        self.drop("ConfigMap", "place")
        self.assert_found("Deployment accounts: there is no ConfigMap place")


if __name__ == "__main__":
    unittest.main()
