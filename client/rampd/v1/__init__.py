"""The messages of `proto/rampd/v1`, in one namespace: `from rampd import v1; v1.RampRequest`."""

from rampd.v1.error_reason_pb2 import *  # noqa: F403
from rampd.v1.release_service_pb2 import *  # noqa: F403
from rampd.v1.resolver_service_pb2 import *  # noqa: F403
from rampd.v1.rollout_pb2 import *  # noqa: F403
from rampd.v1.rollout_service_pb2 import *  # noqa: F403
