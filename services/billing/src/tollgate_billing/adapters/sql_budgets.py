"""Budgets in SQLite or PostgreSQL: a state, the thresholds that it newly reached and their notices are kept as one."""

import functools
import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import sqlalchemy as sa

from tollgate_billing.adapters.control_tables import BUDGET_CROSSINGS, BUDGET_STATES, BUDGETS
from tollgate_billing.adapters.sql_ledger import known
from tollgate_billing.adapters.sql_notices import post_notices
from tollgate_billing.adapters.sql_transfers import insert
from tollgate_billing.control_ports import BudgetWithState, Crossing
from tollgate_billing.domain.budgets import Budget, State, Threshold, Window
from tollgate_billing.errors import InvalidControl, NameTaken
from tollgate_kit.ids import Ids
from tollgate_kit.sql import Database
from tollgate_rating import INT64_MAX

MOST_OF_ORGANIZATION: Final = 1_000
_PLAIN: Final = (
    *("id", "organization_id", "name", "scope", "scope_id", "period", "days", "time_zone", "amount_pico", "currency"),
    "created_us",
)
_BOTH: Final = BUDGETS.outerjoin(BUDGET_STATES, BUDGETS.c.id == BUDGET_STATES.c.budget_id)
_STATE: Final = tuple(column for column in BUDGET_STATES.c if column.name != "budget_id")


class SqlBudgets:
    def __init__(self, database: Database, ids: Ids) -> None:
        self._database = database
        self._ids = ids

    async def add(self, budget: Budget) -> None:
        await known(self._database.write(functools.partial(_add, budget=budget)))

    async def list(self, organization_id: str, limit: int, before_id: str) -> Sequence[BudgetWithState]:
        query = _select()
        if organization_id:
            query = query.where(BUDGETS.c.organization_id == organization_id)
        if before_id:
            query = query.where(BUDGETS.c.id < before_id)
        return await self._read(query.order_by(BUDGETS.c.id.desc()).limit(limit))

    async def get(self, budget_id: str) -> BudgetWithState | None:
        found = await self._read(_select().where(BUDGETS.c.id == budget_id))
        return found[0] if found else None

    async def remove(self, budget_id: str) -> bool:
        return await known(self._database.write(functools.partial(_remove, budget_id=budget_id)))

    async def of(self, organizations: Sequence[str]) -> Sequence[BudgetWithState]:
        return await self._read(_select().where(BUDGETS.c.organization_id.in_(organizations)))

    async def stale(self, before_us: int, limit: int) -> Sequence[BudgetWithState]:
        evaluated = sa.func.coalesce(BUDGET_STATES.c.evaluated_us, 0)
        return await self._read(_select().where(evaluated < before_us).order_by(evaluated, BUDGETS.c.id).limit(limit))

    async def save(self, states: Mapping[str, State], crossings: Mapping[str, Crossing]) -> int:
        work = functools.partial(_save, states=states, crossings=crossings, ids=self._ids)
        return await known(self._database.write(work))

    async def holding(self, now_us: int) -> Sequence[BudgetWithState]:
        opens = BUDGET_STATES.c.opens_us
        held = sa.and_(BUDGET_STATES.c.action != "", sa.or_(opens == 0, opens > now_us))
        return await self._read(_select().where(held).order_by(BUDGETS.c.id))

    async def _read(self, query: sa.Select[Any]) -> Sequence[BudgetWithState]:
        return await known(self._database.read(lambda connection: [_budget(row) for row in connection.execute(query)]))


def _select() -> sa.Select[Any]:
    return sa.select(BUDGETS, *_STATE).select_from(_BOTH)


def _add(connection: sa.Connection, budget: Budget) -> None:
    own = BUDGETS.c.organization_id == budget.organization_id
    count = connection.execute(sa.select(sa.func.count()).select_from(BUDGETS).where(own)).scalar_one()
    if count >= MOST_OF_ORGANIZATION:
        raise InvalidControl(f"an organization has at most {MOST_OF_ORGANIZATION} budgets; delete one first")
    values = {name: getattr(budget, name) for name in _PLAIN}
    values["thresholds"] = json.dumps([[one.percent, one.action, one.model] for one in budget.thresholds])
    statement = insert(connection, BUDGETS).values(values).on_conflict_do_nothing()
    if connection.execute(statement.returning(BUDGETS.c.id)).first() is None:
        raise NameTaken(f"the organization has a budget called {budget.name!r}; delete it or take another name")


def _remove(connection: sa.Connection, budget_id: str) -> bool:
    for table, column in (
        (BUDGET_STATES, BUDGET_STATES.c.budget_id),
        (BUDGET_CROSSINGS, BUDGET_CROSSINGS.c.budget_id),
    ):
        connection.execute(sa.delete(table).where(column == budget_id))
    gone = connection.execute(sa.delete(BUDGETS).where(BUDGETS.c.id == budget_id).returning(BUDGETS.c.id))
    return gone.first() is not None


def _save(connection: sa.Connection, states: Mapping[str, State], crossings: Mapping[str, Crossing], ids: Ids) -> int:
    # One that was deleted meanwhile stays so: nothing of it is written again.
    query = sa.select(BUDGETS.c.id).where(BUDGETS.c.id.in_(tuple(states))).with_for_update()
    there = set(connection.execute(query).scalars())
    notices = 0
    for budget_id, state in sorted(states.items()):
        if budget_id not in there:
            continue
        _save_state(connection, budget_id, state)
        crossing = crossings.get(budget_id)
        if crossing is not None and _cross(connection, budget_id, crossing):
            notices += post_notices(connection, crossing.fact, state.evaluated_us, ids)
    return notices


def _save_state(connection: sa.Connection, budget_id: str, state: State) -> None:
    values = {
        "window_name": state.window.name,
        "begin_us": state.window.begin_us,
        "end_us": state.window.end_us,
        "spent_pico": min(state.spent_pico, INT64_MAX),
        "reached_percent": state.reached_percent,
        "action": state.action,
        "model": state.model,
        "opens_us": state.opens_us,
        "evaluated_us": state.evaluated_us,
    }
    statement = insert(connection, BUDGET_STATES).values({"budget_id": budget_id, **values})
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["budget_id"],
            set_=values,
            # Of two processes that evaluated at once the later look is kept.
            where=BUDGET_STATES.c.evaluated_us <= state.evaluated_us,
        )
    )


def _cross(connection: sa.Connection, budget_id: str, crossing: Crossing) -> bool:
    """Keeps the crossings; says whether the highest is new."""
    new = False
    for one in crossing.thresholds:
        values = {
            "budget_id": budget_id,
            "window_name": crossing.state.window.name,
            "percent": one.percent,
            "action": one.action,
            "crossed_us": crossing.state.evaluated_us,
        }
        statement = insert(connection, BUDGET_CROSSINGS).values(values).on_conflict_do_nothing()
        new = connection.execute(statement.returning(BUDGET_CROSSINGS.c.percent)).first() is not None
    return new


def _budget(row: "sa.Row[Any]") -> BudgetWithState:
    thresholds = tuple(Threshold(percent, action, model) for percent, action, model in json.loads(row.thresholds))
    budget = Budget(**{name: getattr(row, name) for name in _PLAIN}, thresholds=thresholds)
    if row.evaluated_us is None:
        return BudgetWithState(budget, None)
    return BudgetWithState(
        budget,
        State(
            window=Window(row.window_name, row.begin_us, row.end_us),
            spent_pico=row.spent_pico,
            reached=tuple(one for one in thresholds if one.percent <= row.reached_percent),
            action=row.action,
            model=row.model,
            opens_us=row.opens_us,
            evaluated_us=row.evaluated_us,
        ),
    )
