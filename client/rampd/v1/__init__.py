"""The messages of `proto/rampd/v1`, in one namespace: `from rampd import v1; v1.RampRequest`.

An enum field is a whole number, as in protobuf. `v1.RolloutState(rollout.state)` is the member, which is equal to the
number and prints as its name: `ROLLOUT_STATE_HELD`.
"""

from rampd.v1 import error_reason_pb2, release_service_pb2, resolver_service_pb2, rollout_pb2, rollout_service_pb2
from rampd.v1.enums import named
from rampd.v1.error_reason_pb2 import *  # noqa: F403
from rampd.v1.release_service_pb2 import *  # noqa: F403
from rampd.v1.resolver_service_pb2 import *  # noqa: F403
from rampd.v1.rollout_pb2 import *  # noqa: F403
from rampd.v1.rollout_service_pb2 import *  # noqa: F403

for _module in (error_reason_pb2, release_service_pb2, resolver_service_pb2, rollout_pb2, rollout_service_pb2):
    for _enum in _module.DESCRIPTOR.enum_types_by_name.values():
        globals().update(named(_enum))
