"""From judged events to money: transfers of the ledger and effects on wallets.

| what happens                    | debit         | credit        | amount            |
|---------------------------------|---------------|---------------|-------------------|
| a request is charged            | wallet        | revenue       | charge            |
| a call that counts cost us      | provider_cost | payable       | cost              |
| a call that lost cost us        | loss          | payable       | cost              |
| a charge is taken back          | adjustment    | wallet        | the old charge    |
| and its cost is lost            | loss          | provider_cost | the old cost      |
| or is said anew, rated later    | payable       | provider_cost | the old cost      |
| or was said twice               | payable       | provider_cost | the old cost      |
| credit is granted               | funding       | wallet        | the grant         |
| bonus credit is granted         | adjustment    | bonus         | the grant         |
| and pays for requests           | bonus         | wallet        | what they cost    |
| and comes back with a charge    | wallet        | bonus         | what it paid      |
| and expires                     | bonus         | adjustment    | what is left      |
| requests outrun the money       | receivable    | wallet        | what is missing   |
| and money comes                 | wallet        | receivable    | what is owed      |
| paid money goes back            | wallet        | funding       | the refund        |
| a mistake is put right          | adjustment    | wallet        | or the other way  |
| money goes to another           | wallet        | clearing      | there the reverse |

A balance is credits minus debits. What an organization can spend is its `wallet` and `bonus` less what it owes, the
debit of `receivable`; the wallet itself is never below zero. What it brought in is `revenue` less what `adjustment` was
debited. `clearing` is zero over all organizations.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tollgate_billing.domain.fields import Columns, columns_of
from tollgate_billing.domain.judge import Judged
from tollgate_billing.domain.rows import to_pico
from tollgate_holds import hold_id_of
from tollgate_rating import INT64_MAX, format_decimal

WALLET: Final = "wallet"
REVENUE: Final = "revenue"
PROVIDER_COST: Final = "provider_cost"
PAYABLE: Final = "payable"
LOSS: Final = "loss"
ADJUSTMENT: Final = "adjustment"
FUNDING: Final = "funding"
BONUS: Final = "bonus"
RECEIVABLE: Final = "receivable"
CLEARING: Final = "clearing"
# What can be spent is the sum of these.
SPENDABLE: Final = (WALLET, BONUS, RECEIVABLE)
TOO_MUCH_MONEY: Final = (
    f"its batch moves more money at once than a transfer of the ledger holds, {format_decimal(INT64_MAX)}; replay this"
)
_ABOUT: Final = ("organization_id", "project_id", "model", "price_digest", "currency")


class Line(NamedTuple):
    """What the requests of one transfer have in common."""

    organization_id: str
    project_id: str
    model: str
    price_digest: str
    currency: str
    debit: str
    credit: str
    rate_digest: str = ""


@dataclass(frozen=True, slots=True)
class Transfer:
    """An amount above 0, in pico-units, and how many events it is the sum of."""

    line: Line
    amount_pico: int
    events: int


class TakenBack(NamedTuple):
    """What is taken back of an organization's charges that one earlier batch booked, in pico-units."""

    batch: str
    organization_id: str
    currency: str
    amount_pico: int


@dataclass(slots=True)
class WalletEffect:
    """What one batch does to one wallet: charges by hold, in the currency that each was charged in, and credit."""

    organization_id: str
    charges: dict[tuple[str, str], int] = field(default_factory=dict)
    credits: dict[str, int] = field(default_factory=dict)


def transfers_of(judged: Sequence[Judged], fields: Columns | None = None) -> list[Transfer]:
    """Returns one transfer for each organization, project, model, price version, exchange rate and pair of accounts.

    `fields` are those of the same events by column, where they are known.
    """
    columns = fields or columns_of([one.event.fields for one in judged])
    about = zip(*(columns[name] for name in _ABOUT), strict=True)
    # Amount and number of charges, of costs that count, and of costs that are lost.
    found: dict[tuple[tuple[str, ...], str], list[int]] = {}
    adjusted: dict[Line, list[int]] = {}
    for one, key, charge, cost in zip(judged, about, columns["charge_pico"], columns["cost_pico"], strict=True):
        place = (key, one.event.rate_digest if one.event.converted is not None else "")
        entry = found.get(place)
        if entry is None:
            entry = found[place] = [0] * 6
        if one.lost:
            entry[4] += cost
            entry[5] += cost > 0
        else:
            # Only a final has a charge.
            entry[0] += charge
            entry[1] += charge > 0
            entry[2] += cost
            entry[3] += cost > 0
        if one.corrects is not None:
            _take_back(adjusted, one.corrects.row, PAYABLE if one.event.restates else LOSS)
    sums = [
        (Line._make((*key, *accounts, rate)), entry[place : place + 2])
        for (key, rate), entry in found.items()
        for place, accounts in ((0, (WALLET, REVENUE)), (2, (PROVIDER_COST, PAYABLE)), (4, (LOSS, PAYABLE)))
    ]
    sums += adjusted.items()
    return [Transfer(line, amount, count) for line, (amount, count) in sorted(sums) if amount]


def first_beyond(judged: Sequence[Judged], most_pico: int) -> int:
    """Returns the offset of the first event with which a batch moves more than this; it moves more."""
    moved = 0
    for one in judged:
        moved += one.charge_pico + one.event.fields.cost_pico
        if one.corrects is not None:
            row: Any = one.corrects.row
            moved += to_pico(row["charge"]) + to_pico(row["cost"])
        if moved > most_pico:
            return one.event.offset
    raise ValueError(f"the batch moves {moved} pico-units, no more than {most_pico}")


def _take_back(sums: dict[Line, list[int]], row: Any, debit: str) -> None:
    """Adds what takes a booked row's charge back, and its cost, which `debit` bears."""
    about, rate = [row[name] for name in _ABOUT], row["rate_digest"]
    for accounts, name in (((ADJUSTMENT, WALLET), "charge"), ((debit, PROVIDER_COST), "cost")):
        if amount := to_pico(row[name]):
            entry = sums.setdefault(Line._make((*about, *accounts, rate)), [0, 0])
            entry[0] += amount
            entry[1] += 1


def taken_back_of(judged: Sequence[Judged]) -> list[TakenBack]:
    """Returns what these take back, by the batch that had charged it."""
    sums: dict[tuple[str, str, str], int] = {}
    for one in judged:
        if one.corrects is not None:
            row: Any = one.corrects.row
            key = (row["batch"], row["organization_id"], row["currency"])
            sums[key] = sums.get(key, 0) + to_pico(row["charge"])
    return [TakenBack(*key, amount) for key, amount in sorted(sums.items()) if amount]


def effects_of(judged: Sequence[Judged]) -> list[WalletEffect]:
    """Returns what holds to book away, at which charge, by organization. A final at charge 0 frees its hold too.

    It frees that of its own try only: another one of the request may still run, and holds for itself.
    """
    effects: dict[str, WalletEffect] = {}
    for one in judged:
        of = one.event.fields
        if not of.final:
            continue
        organization = of.organization_id
        effect = effects.get(organization)
        if effect is None:
            effect = effects[organization] = WalletEffect(organization)
        charges = effect.charges
        key = (hold_id_of(of.request_id, of.number_of_try), of.currency)
        charge = 0 if one.lost else of.charge_pico
        charges[key] = charges[key] + charge if key in charges else charge
        if one.corrects is not None:
            row: Any = one.corrects.row
            owner = effects.setdefault(row["organization_id"], WalletEffect(row["organization_id"]))
            currency = row["currency"]
            owner.credits[currency] = owner.credits.get(currency, 0) + to_pico(row["charge"])
    return list(effects.values())
