"""What a method asks of its caller: a role, a role for each flag, and a component that the caller may see."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from rampd_server.access.grants import Grant
from rampd_server.access.rpc_roles import REQUEST_FLAGS, Role, Roles, flags_of, is_set, least, roles_of
from rampd_server.domain.refusals import component_hidden, role_required

_MAKES_COMPONENTS = "Release"


@dataclass(frozen=True)
class Permission:
    """What one method asks of its caller."""

    name: str
    """The short name: `Ramp`."""
    roles: Roles
    flags: tuple[str, ...]
    has_component: bool
    is_change: bool
    """Whether the method changes rollouts. A report of outcomes does not count as a change."""

    @classmethod
    def of(cls, method: MethodDescriptor) -> "Permission":
        fields = method.input_type.fields_by_name
        return cls(method.name, roles_of(method), flags_of(method), "component" in fields, "request_id" in fields)

    def require(self, grant: Grant, request: Any, how_else: Callable[[], str]) -> None:  # noqa: ANN401 - any message
        """Raises RefusedError: ROLE_REQUIRED, or COMPONENT_NOT_FOUND if the caller may not see the component."""
        if not grant.may(self.name, self.roles):
            raise _refused(grant, f"call {self.name}", least(self.roles), how_else)
        for flag in self.flags:
            if is_set(request, flag) and not grant.may_set(flag):
                if grant.may(flag, REQUEST_FLAGS[flag]):
                    raise role_required(
                        f"{grant.name} is for {' and '.join(grant.components)}, and `{flag}` is for every component.",
                        role=grant.role,
                    )
                raise _refused(grant, f"set `{flag}` in {self.name}", least(REQUEST_FLAGS[flag]), how_else)
        if grant.sees_every_component or not self.has_component:
            return
        component = request.component
        if not component or grant.sees(component):
            return
        if self.name == _MAKES_COMPONENTS:
            raise role_required(
                f"{grant.name} may release {' and '.join(grant.components)}, but not {component}.", role=grant.role
            )
        raise component_hidden(component=component)


def _refused(grant: Grant, what: str, role: Role | None, how_else: Callable[[], str]) -> Exception:
    if message := how_else():
        # Without an access file there are two kinds of callers: those who read, and admins.
        return role_required(message, role=Role.ADMIN if role is Role.OPERATOR else role or "")
    wanted = f"the role {role}" if role is not None else "a rule, and there is none for this method"
    return role_required(
        f"{grant.name} has the role {grant.role} and may not {what}: that needs {wanted}. An admin can change the grant.",
        role=role or "",
    )
