"""From judged events to money: transfers of the ledger and effects on wallets.

| what happens                    | debit         | credit        | amount            |
|---------------------------------|---------------|---------------|-------------------|
| a request is charged            | wallet        | revenue       | charge            |
| a call that counts cost us      | provider_cost | payable       | cost              |
| a call that lost cost us        | loss          | payable       | cost              |
| a charge is taken back          | adjustment    | wallet        | the old charge    |
| and its cost is lost            | loss          | provider_cost | the old cost      |
| credit is granted               | funding       | wallet        | the grant         |
| bonus credit is granted         | adjustment    | bonus         | the grant         |
| and pays for requests           | bonus         | wallet        | what they cost    |
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

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from tollgate_billing.domain.judge import Judged
from tollgate_billing.domain.rows import to_pico

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


@dataclass(slots=True)
class WalletEffect:
    """What one batch does to one wallet: charges by hold, in the currency that each was charged in, and credit."""

    organization_id: str
    charges: dict[tuple[str, str], int] = field(default_factory=dict)
    credits: dict[str, int] = field(default_factory=dict)


def transfers_of(judged: Iterable[Judged]) -> list[Transfer]:
    """Returns one transfer for each organization, project, model, price version, exchange rate and pair of accounts."""
    sums: dict[tuple[str, ...], list[int]] = {}
    for one in judged:
        of, rate = one.event.fields, one.event.rate_digest
        about = (of.organization_id, of.project_id, of.model, of.price_digest, of.currency)
        _add(sums, (*about, WALLET, REVENUE, rate), one.charge_pico)
        _add(sums, (*about, LOSS if one.lost else PROVIDER_COST, PAYABLE, rate), of.cost_pico)
        if one.corrects is not None:
            row: Any = one.corrects.row
            about = (row["organization_id"], row["project_id"], row["model"], row["price_digest"], row["currency"])
            rate = row["rate_digest"]
            _add(sums, (*about, ADJUSTMENT, WALLET, rate), to_pico(row["charge"]))
            _add(sums, (*about, LOSS, PROVIDER_COST, rate), to_pico(row["cost"]))
    return [Transfer(Line(*key), amount, count) for key, (amount, count) in sorted(sums.items())]


def _add(sums: dict[tuple[str, ...], list[int]], key: tuple[str, ...], amount: int) -> None:
    if not amount:
        return
    entry = sums.get(key)
    if entry is None:
        sums[key] = [amount, 1]
    else:
        entry[0] += amount
        entry[1] += 1


def effects_of(judged: Sequence[Judged]) -> list[WalletEffect]:
    """Returns what holds to book away, at which charge, by organization. A final at charge 0 frees its hold too."""
    effects: dict[str, WalletEffect] = {}
    for one in judged:
        of = one.event.fields
        if not of.final:
            continue
        organization = of.organization_id
        effect = effects.get(organization)
        if effect is None:
            effect = effects[organization] = WalletEffect(organization)
        key = (of.request_id, of.currency)
        effect.charges[key] = effect.charges.get(key, 0) + one.charge_pico
        if one.corrects is not None:
            row: Any = one.corrects.row
            owner = effects.setdefault(row["organization_id"], WalletEffect(row["organization_id"]))
            currency = row["currency"]
            owner.credits[currency] = owner.credits.get(currency, 0) + to_pico(row["charge"])
    return list(effects.values())
