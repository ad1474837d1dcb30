"""The places that replicas hold on the nodes of a cluster, and where there is one for another replica."""
