"""A Ray cluster of two nodes on this machine, one CPU each, as a process of its own.

Prints the address; a line on standard input kills the second node, the end of it takes the cluster down.
"""

import sys

from ray.cluster_utils import Cluster

MEMORY = 80 * 1024**2

if __name__ == "__main__":
    head = {"num_cpus": 1, "num_gpus": 0, "object_store_memory": MEMORY, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(num_cpus=1, num_gpus=0, object_store_memory=MEMORY)
    print(cluster.address, flush=True)
    for _ in sys.stdin:
        cluster.remove_node(second, allow_graceful=False)
        print("killed", flush=True)
    cluster.shutdown()
