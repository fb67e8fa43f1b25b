"""What darkroom takes of TensorFlow besides its public API, each with the reason."""

import tensorflow as tf
from tensorflow.python.distribute.collective_all_reduce_strategy import coordination_config_pb2
from tensorflow.python.eager import context


def configure_coordination_service(
    addresses: dict[str, list[str]],
    leader: str,
    *,
    register_seconds: int,
    heartbeat_seconds: int,
    shutdown_seconds: int,
) -> None:
    """Sets how long the machines of a MultiWorkerMirroredStrategy wait for each other.

    Reason: the strategy begins this service by itself, with a time-out for registering that is too
    short for pods that wait for their nodes, and has no option for it.

    Only possible before TensorFlow has been used in this process, and once.

    Args:
      addresses: host:port by type of task.
      leader: TensorFlow's name of the task that runs the service.
      register_seconds: for all machines to come.
      heartbeat_seconds: a machine that isn't heard of for so long is lost.
      shutdown_seconds: for all machines to end.
    """
    context.context().configure_coordination_service(
        "standalone",
        leader,
        cluster_register_timeout_in_ms=register_seconds * 1000,
        heartbeat_timeout_in_ms=heartbeat_seconds * 1000,
        shutdown_barrier_timeout_in_ms=shutdown_seconds * 1000,
        coordinated_jobs=[
            coordination_config_pb2.CoordinatedJob(name=kind, num_tasks=len(hosts))
            for kind, hosts in addresses.items()
        ],
    )


def collective_was_aborted(error: BaseException) -> bool:
    """Whether TensorFlow gave up what machines compute together because one of them failed.

    Reason: some of these errors have no class of their own; the words are in collective_executor.
    """
    return isinstance(error, tf.errors.OpError) and "Collective ops is aborted" in str(error)
