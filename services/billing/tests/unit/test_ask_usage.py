"""Who may ask what about usage, and what comes back."""

import pytest
from services.billing.tests.fakes.usage_answers import FakeUsageExport, FakeUsageSql

from tollgate_billing.api.usage_answers import MOST_BYTES, sql_answer, view_answer, view_message
from tollgate_billing.domain.table import Table
from tollgate_billing.domain.usage_export import COLUMNS, read_month
from tollgate_billing.domain.usage_view import read_view
from tollgate_billing.errors import InvalidQuery, NotAllowed, UnknownView
from tollgate_billing.use_cases.ask_usage import Answer, AskUsage
from tollgate_kit.clock import ManualClock

pytestmark = pytest.mark.unit

HEAD = "-- What?\n-- reads: usage_1d\n"
VIEWS = (
    read_view(
        "spend_v1",
        f"{HEAD}-- parameter organization =: whose\n-- column model: m\n-- column cost (operators) [currency]: c\n"
        "SELECT {organization:String}",
    ),
    read_view(
        "spend_v2", f"{HEAD}-- parameter organization =: whose\n-- column model: m\nSELECT {{organization:String}}"
    ),
    read_view("margin_v1", f"{HEAD}-- for operators\n-- column model: m\nSELECT 1"),
    read_view("everything_v1", f"{HEAD}-- column model: m\nSELECT 1"),
)


class Views:
    def __init__(self):
        self.asked = []

    def views(self):
        return VIEWS

    async def ask(self, view, values, limit):
        self.asked.append((view.full_name, values, limit))
        names = [column.name for column in view.columns]
        return Table([(name, "String") for name in names], [(f"{number}",) * len(names) for number in range(3)][:limit])


@pytest.fixture
def asking():
    made = AskUsage(Views(), FakeUsageSql([(number,) for number in range(5)]), FakeUsageExport(), ManualClock())
    made.seen = made._views.asked
    return made


async def test_an_organization_sees_its_own_rows_and_not_what_they_cost_us(asking):
    answer = await asking.view("spend_v1", {"organization": "org_2"}, organization_id="org_1", operator=False, limit=2)
    assert [one.name for one in answer.columns] == ["model"]
    assert (answer.table.rows, answer.truncated) == ([["0"], ["1"]], True)
    assert asking.seen == [("spend_v1", {"organization": "org_1"}, 3)]
    answer = await asking.view("spend_v1", {}, organization_id="", operator=True, limit=3)
    assert [one.name for one in answer.columns] == ["model", "cost"]
    assert (len(answer.table.rows), answer.truncated) == (3, False)
    assert asking.seen[-1][1] == {"organization": ""}


async def test_a_name_without_a_version_means_the_newest(asking):
    await asking.view("spend", {}, organization_id="org_1", operator=False, limit=1)
    assert asking.seen[-1][0] == "spend_v2"
    with pytest.raises(UnknownView, match="there are spend, spend, everything"):
        await asking.view("margins", {}, organization_id="org_1", operator=False, limit=1)


@pytest.mark.parametrize(
    ("name", "organization"), [("margin", "org_1"), ("everything", "org_1"), ("spend", ""), ("spend_v1", "")]
)
async def test_what_would_show_others_is_for_operators(asking, name, organization):
    with pytest.raises(NotAllowed, match="for operators"):
        await asking.view(name, {}, organization_id=organization, operator=False, limit=1)
    await asking.view(name, {}, organization_id=organization, operator=True, limit=1)


def test_the_list_of_views_leaves_out_what_a_caller_cannot_see(asking):
    mine = asking.views(operator=False)
    assert [view.full_name for view in mine] == ["spend_v1", "spend_v2", "everything_v1"]
    assert [column.name for column in view_message(mine[0]).columns] == ["model"]
    assert [view.full_name for view in asking.views(operator=True)] == [view.full_name for view in VIEWS]


async def test_sql_says_whether_there_is_more(asking):
    answer = await asking.sql("select 1", 3)
    assert (answer.table.rows, answer.truncated) == ([(0,), (1,), (2,)], True)
    assert (await asking.sql("select 1", 5)).truncated is False
    assert list(sql_answer(answer).rows_json) == ["[0]", "[1]", "[2]"]


def test_an_answer_fits_a_message():
    wide = Answer((), Table([("text", "String")], [["x" * 1_000_000]] * 5), truncated=False)
    wire = sql_answer(wide)
    assert (len(wire.rows_json), wire.truncated) == (2, True)
    assert wire.ByteSize() < MOST_BYTES + 1_000
    assert view_answer(Answer(VIEWS[1].columns, Table([("model", "String")], []), truncated=False)).columns[0].type


async def test_an_export_is_of_one_organization_and_month(asking):
    pieces = [piece async for piece in asking.export("org_1", "2026-02", operator=False)]
    assert pieces == [b"PAR1", b"PAR1"]
    organization, month, columns = asking._export.asked[0]
    assert (organization, str(month.end.date()), len(month.days())) == ("org_1", "2026-03-01", 28)
    assert not {"cost", "loss", "channel", "provider", "upstream_model"} & set(columns)
    [piece async for piece in asking.export("org_1", "2026-12", operator=True)]
    assert asking._export.asked[1][2] == list(COLUMNS)
    assert str(read_month("2026-12").end.date()) == "2027-01-01"
    for organization, month in (("", "2026-02"), ("org_1", "2026-13"), ("org_1", "2026"), ("org_1", "")):
        with pytest.raises(InvalidQuery):
            asking.export(organization, month, operator=True)
    assert not any("CLUSTER" in one for one in asking.isolation("org_1"))
    on_cluster = AskUsage(Views(), FakeUsageSql([]), FakeUsageExport(), ManualClock(), "{cluster}")
    assert all("ON CLUSTER '{cluster}'" in one for one in on_cluster.isolation("org_1"))
    with pytest.raises(InvalidQuery, match="letters"):
        asking.isolation("org_1'; DROP TABLE x")
