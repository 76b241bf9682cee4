"""Who may do what to which objects: the only place that knows. Every answer carries its reason.

A right has two halves. The role says what one may do (the table RIGHTS); region and enterprise say to what: a region
covers everything below it, an enterprise user reaches only what belongs to their own enterprise. A person of the
office without a region reaches nothing, except leaders and administrators, who then reach everything.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from django.apps import apps
from django.contrib.auth.models import AnonymousUser
from django.core.exceptions import PermissionDenied
from django.db.models import Model, Q, QuerySet
from django.utils.translation import gettext as _

from ceguan.registry.label import label, listed, name
from ceguan.registry.models import Enterprise, Point, Region, User
from ceguan.words import ROLES, Label, Role

OFFICE = frozenset({Role.DUTY, Role.ANALYST, Role.ENFORCEMENT, Role.LEADER, Role.ADMIN})
EVERYONE = OFFICE | {Role.ENTERPRISE}
HANDLERS = OFFICE - {Role.ADMIN}
UNBOUND = frozenset({Role.LEADER, Role.ADMIN})
"""Roles that reach every region when no region is registered for them."""


class Right(NamedTuple):
    """One row of the table: an action, its name, the roles that may do it."""

    action: str
    name: Label
    roles: frozenset[Role]


RIGHTS = (
    Right("see", Label("查看", "see"), EVERYONE),
    Right("frames", Label("查看原始报文", "see raw frames"), EVERYONE),
    Right("export", Label("导出数据", "export data"), EVERYONE),
    Right("evidence", Label("出具证据包", "issue evidence packs"),
          frozenset({Role.ANALYST, Role.ENFORCEMENT, Role.LEADER, Role.ADMIN})),
    Right("decide", Label("审核数据", "review data"), frozenset({Role.ANALYST})),
    Right("intake", Label("查看接入状态", "see the intake"), frozenset({Role.DUTY, Role.ANALYST, Role.ADMIN})),
    Right("adopt", Label("接入设备", "adopt devices"), frozenset({Role.ANALYST, Role.ADMIN})),
    Right("command", Label("向设备提取数据", "ask devices for data"), frozenset({Role.DUTY, Role.ANALYST, Role.ADMIN})),
    Right("control", Label("反控设备", "control devices"), frozenset({Role.ANALYST, Role.ADMIN})),
    Right("release", Label("放行隔离数据", "release data from quarantine"), frozenset({Role.ANALYST})),
    Right("forward", Label("设置向上转发", "set up forwarding"), frozenset({Role.ANALYST, Role.ADMIN})),
    Right("import", Label("导入读数", "import readings"), frozenset({Role.ANALYST, Role.ADMIN})),
    Right("inbox", Label("查看报警收件箱", "see the alarm inbox"), OFFICE),
    Right("handle", Label("办理报警", "handle alarms"), HANDLERS),
    Right("open_case", Label("立案", "open a case"), HANDLERS),
    Right("case", Label("办理案件", "work on cases"), HANDLERS | {Role.ENTERPRISE}),
    Right("case_internal", Label("查看案件内部环节", "see internal steps of a case"), OFFICE),
    Right("case_export", Label("导出案卷", "export case files"), OFFICE),
    Right("limit", Label("修改许可限值", "edit permit limits"), frozenset({Role.ANALYST, Role.ADMIN})),
    Right("maintain", Label("公告维护", "announce maintenance"),
          frozenset({Role.DUTY, Role.ANALYST, Role.ADMIN, Role.ENTERPRISE})),
    Right("period", Label("设定办理期限", "set periods"), frozenset({Role.LEADER, Role.ADMIN})),
    Right("forget", Label("删除保存期已满的数据", "delete data whose period is over"),
          frozenset({Role.LEADER, Role.ADMIN})),
    Right("audit", Label("查看留痕", "see the audit trail"), frozenset({Role.LEADER, Role.ADMIN})),
)  # fmt: skip
_BY_ACTION = {right.action: right for right in RIGHTS}


class Permission(NamedTuple):
    """Whether, and why (not), as a sentence to show."""

    allowed: bool
    reason: str

    def __bool__(self) -> bool:
        return self.allowed


class Forbidden(PermissionDenied):
    """The person may not do this; the message is the reason."""


def can(user: User | AnonymousUser, action: str, subject: Model | None = None) -> Permission:
    """Whether `user` may do `action` to `subject` (region, enterprise, point, or anything that belongs to a point).

    Without a subject only the role is asked. Raises KeyError for an action that is not in RIGHTS.
    """
    right = _BY_ACTION[action]
    if not isinstance(user, User) or not user.is_active:
        return Permission(False, _("没有登录，或账号已停用"))
    if user.role not in right.roles:
        return Permission(False, reserved(right.name, right.roles, user))
    if subject is not None and (beyond := _beyond(user, subject)):
        return Permission(False, beyond)
    said = {"role": role_name(user.role), "right": label(right.name)}
    return Permission(True, _("%(role)s可以%(right)s") % said)


def reserved(what: Label, roles: frozenset[Role] | set[Role], user: User) -> str:
    """Why a person of another role may not do what is for these roles."""
    said = {"what": label(what), "roles": names(roles), "role": role_name(user.role)}
    return _("“%(what)s”须由%(roles)s办理；您的角色是%(role)s") % said


def require(user: User | AnonymousUser, action: str, subject: Model | None = None) -> None:
    """Raises Forbidden with the reason unless `can`."""
    permission = can(user, action, subject)
    if not permission.allowed:
        raise Forbidden(permission.reason)


def role_name(role: str) -> str:
    return label(ROLES[Role(role)]) if role in ROLES else _("未定")


def names(roles: frozenset[Role] | set[Role]) -> str:
    """Roles in words, in the order of the word list."""
    return listed(label(ROLES[role]) for role in Role if role in roles)


def covers(user: User, region: Region) -> bool:
    """Whether the person's region is this one or lies above it."""
    if user.region is None:
        return user.role in UNBOUND
    return region.path.startswith(user.region.path)


def _beyond(user: User, subject: Model) -> str:
    """Why the subject is out of the person's reach; "" when it is within."""
    region, enterprise = _place(subject)
    if user.role == Role.ENTERPRISE:
        mine = user.enterprise_id is not None and enterprise == user.enterprise_id
        return "" if mine else _("企业用户只能查看和办理本单位的点位、案件和报警")
    if covers(user, region):
        return ""
    if user.region is None:
        return _("该对象在%(region)s，不在您的辖区之内；您的账号没有登记辖区") % {"region": name(region)}
    said = {"region": name(region), "own": name(user.region)}
    return _("该对象在%(region)s，不在您的辖区之内；您的辖区是%(own)s") % said


def _place(subject: Any) -> tuple[Region, int | None]:
    """Region and id of the enterprise an object belongs to."""
    if isinstance(subject, Region):
        return subject, None
    if isinstance(subject, Enterprise):
        return subject.region, subject.pk
    owner = subject if hasattr(subject, "region_id") else subject.point
    return owner.region, owner.enterprise_id


# ---- lists: exactly the objects that `can(user, "see", …)` allows


def visible_points(user: User | AnonymousUser) -> QuerySet[Point]:
    return Point.objects.filter(_reach(user))


def visible_enterprises(user: User | AnonymousUser) -> QuerySet[Enterprise]:
    return Enterprise.objects.filter(_reach(user, enterprise="pk"))


def visible_findings(user: User | AnonymousUser) -> QuerySet[Any]:
    """watch.Finding, named late: that room lies below this one."""
    found: QuerySet[Any] = apps.get_model("watch", "Finding")._default_manager.filter(_reach(user, "point__"))
    return found


def visible_cases(user: User | AnonymousUser) -> QuerySet[Any]:
    """cases.Case, named late: that room lies below this one."""
    found: QuerySet[Any] = apps.get_model("cases", "Case")._default_manager.filter(_reach(user))
    return found


def _reach(user: User | AnonymousUser, prefix: str = "", enterprise: str = "enterprise") -> Q:
    """Region and enterprise of the person as a condition on `<prefix>region` and `<prefix><enterprise>`."""
    nothing, everything = Q(pk__in=()), Q()
    if not isinstance(user, User) or not user.is_active or user.role not in EVERYONE:
        return nothing
    if user.role == Role.ENTERPRISE:
        return Q(**{f"{prefix}{enterprise}": user.enterprise_id}) if user.enterprise_id else nothing
    if user.region is None:
        return everything if user.role in UNBOUND else nothing
    return Q(**{f"{prefix}region__path__startswith": user.region.path})


def officers(region: Region, role: Role) -> list[User]:
    """Active people of a role whose region covers this one, the nearest region first."""
    people = User.objects.filter(role=role, is_active=True).select_related("region")
    reaching = [person for person in people if covers(person, region)]
    return sorted(reaching, key=lambda person: (-len(person.region.path if person.region else ""), person.pk))
