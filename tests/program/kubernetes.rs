//! `deploy/kubernetes`: what kustomize, Helm and the API server's policies make of it, held against the schemas of every version since 1.29 and against
//! the restricted profile of Pod Security; and each shape as a pod that runs.
//!
//! There is no cluster here. `kubernetes/kubelet` does for a pod what a kubelet does, with the restrictions of each container, and
//! `kubernetes/cluster` signs tokens and reviews them as an API server does. Everything else is the real thing.

mod cluster;
mod injection;
mod kubelet;
mod manifests;
mod pods;
mod tools;
