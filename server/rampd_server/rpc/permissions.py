"""Checks the caller of a method: its role, its role for each flag, and that it may see the component."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import MethodDescriptor

from rampd_server.access.grants import Grant
from rampd_server.access.rpc_roles import REQUEST_FLAGS, Role, Roles, flags_of, is_set, least, roles_of
from rampd_server.domain.errors import RefusedError
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
            raise role_refusal(grant, f"call {self.name}", self.roles, how_else())
        for flag in self.flags:
            if is_set(request, flag) and not grant.may_set(flag):
                roles = REQUEST_FLAGS[flag]
                if grant.may(flag, roles):
                    raise role_required(
                        f"{grant.name} is for {' and '.join(grant.components)}, and `{flag}` is for every component.",
                        role=least(roles) or "",
                        component="*",
                    )
                raise role_refusal(grant, f"set `{flag}` in {self.name}", roles, how_else())
        if grant.sees_every_component or not self.has_component:
            return
        component = request.component
        if not component or grant.sees(component):
            return
        if self.name == _MAKES_COMPONENTS:
            raise role_required(
                f"{grant.name} may release {' and '.join(grant.components)}, but not {component}.",
                role=least(self.roles) or "",
                component=component,
            )
        raise component_hidden(component=component)


def role_refusal(grant: Grant, what: str, roles: Roles, how_else: str = "") -> RefusedError:
    """Returns the error for a caller who may not do `what`. `roles` may. `how_else` is what to do instead, where nobody has a grant."""
    role = least(roles)
    if how_else:
        # Without an access file there are two kinds of callers: those who read, and admins.
        return role_required(how_else, role=Role.ADMIN if role is Role.OPERATOR else role or "")
    if grant.role in roles:
        why = f"{grant.name} may not {what}: its grant denies that."
    else:
        wanted = f"the role {role}" if role is not None else "a rule, and there is none for this method"
        why = f"{grant.name} has the role {grant.role} and may not {what}: that needs {wanted}."
    return role_required(f"{why} An admin can change the grant.", role=role or "")
