"""billing, media-jobs, the routers and the operator's file, in memory."""

from tollgate.billing.v1 import billing_pb2 as billing
from tollgate.billing.v1 import controls_pb2 as wire
from tollgate.billing.v1 import dead_letters_pb2 as letters
from tollgate.billing.v1 import ledger_pb2 as ledger
from tollgate.billing.v1 import payments_pb2 as payments
from tollgate.billing.v1 import reports_pb2 as reports
from tollgate.errors.v1 import errors_pb2 as errors
from tollgate.media.v1 import media_pb2 as media
from tollgate_edge.errors import public_error


class FakeBilling:
    def __init__(self):
        self.away = 0
        self.grants = {}
        self.asked = []
        self.usage_reply = billing.QueryUsageResponse()
        self.requests_reply = billing.ListRequestsResponse()
        self.evidences = {}
        self.view_reply = billing.QueryViewResponse()
        self.sql_reply = billing.RunSqlResponse()
        self.pieces = [b"PAR1", b"PAR1"]
        self.costs_reply = billing.CompareProviderCostsResponse()
        self.books_reply = billing.CompareBooksResponse()

    def _check(self):
        if self.away:
            self.away -= 1
            raise public_error(errors.ERROR_KIND_UNAVAILABLE)

    async def grant(self, request):
        self._check()
        self.grants.setdefault(request.idempotency_key, request)
        mine = [one for one in self.grants.values() if one.organization_id == request.organization_id]
        return billing.GrantResponse(balance_pico=sum(grant.amount_pico for grant in mine))

    async def balance(self, request):
        self._check()
        self.asked.append(request)
        total = sum(g.amount_pico for g in self.grants.values() if g.organization_id == request.organization_id)
        return billing.GetBalanceResponse(currency="USD", ledger_pico=total, wallet_pico=total)

    async def rebuild_wallet(self, request):
        self._check()
        return billing.RebuildWalletResponse(changed=True)

    async def usage(self, request):
        self._check()
        self.asked.append(request)
        return self.usage_reply

    async def requests(self, request):
        self._check()
        self.asked.append(request)
        return self.requests_reply

    async def evidence(self, request):
        self._check()
        self.asked.append(request)
        found = self.evidences.get(request.request_id, billing.GetEvidenceResponse())
        mine = request.organization_id in {"", *(row.organization_id for row in found.rows)}
        return found if mine else billing.GetEvidenceResponse()

    async def compare_books(self, request):
        self._check()
        self.asked.append(request)
        return self.books_reply

    async def compare_provider_costs(self, request):
        self._check()
        self.asked.append(request)
        return self.costs_reply

    async def status(self):
        self._check()
        return billing.GetStatusResponse(rows=2**40)

    async def views(self, request):
        self._check()
        self.asked.append(request)
        return billing.ListViewsResponse(views=[billing.View(name="spend_by_model", version=1, question="What?")])

    async def view(self, request):
        self._check()
        self.asked.append(request)
        return self.view_reply

    async def sql(self, request):
        self._check()
        self.asked.append(request)
        return self.sql_reply

    async def export(self, request):
        self._check()
        self.asked.append(request)

        async def pieces():
            for piece in self.pieces:
                yield piece

        return pieces()

    async def isolation(self, request):
        self._check()
        self.asked.append(request)
        return billing.DescribeIsolationResponse(statements=["CREATE ROLE x"])


class Answer:
    """A method that notes what it is asked and answers what `replies` has under its name, or raises it."""

    def __init__(self, empty):
        self._empty = empty

    def __set_name__(self, _, name):
        self._name = name

    def __get__(self, fake, _=None):
        async def call(request):
            fake.asked.append((self._name, request))
            reply = fake.replies.get(self._name, self._empty())
            if isinstance(reply, Exception):
                raise reply
            return reply

        return call


class Noting:
    def __init__(self):
        self.asked = []
        self.replies = {}


class FakeLedger(Noting):
    grant_bonus = Answer(ledger.GrantBonusResponse)
    refund = Answer(ledger.RefundResponse)
    correct = Answer(ledger.CorrectResponse)
    transfer = Answer(ledger.TransferMoneyResponse)
    set_credit_line = Answer(ledger.SetCreditLineResponse)
    accounts = Answer(ledger.GetAccountsResponse)
    transfers = Answer(ledger.ListTransfersResponse)
    create_codes = Answer(ledger.CreateCodesResponse)
    redeem = Answer(ledger.RedeemCodeResponse)
    codes = Answer(ledger.ListCodesResponse)
    revoke_code = Answer(ledger.RevokeCodeResponse)
    rebuild_wallets = Answer(ledger.RebuildWalletsResponse)


class FakeDeadLetters(Noting):
    dead_letters = Answer(letters.ListDeadLettersResponse)
    dead_letter = Answer(letters.GetDeadLetterResponse)
    replay = Answer(letters.ReplayDeadLettersResponse)


class FakeReports(Noting):
    statement = Answer(reports.GetStatementResponse)
    what_if = Answer(reports.WhatIfResponse)
    rerate_unpriced = Answer(reports.RerateUnpricedResponse)
    take_back_repeated = Answer(reports.TakeBackRepeatedResponse)


class FakePayments(Noting):
    create_top_up = Answer(payments.CreateTopUpResponse)
    record_payment = Answer(payments.RecordPaymentResponse)
    top_ups = Answer(payments.ListTopUpsResponse)


class FakeControls(Noting):
    create_budget = Answer(wire.CreateBudgetResponse)
    budgets = Answer(wire.ListBudgetsResponse)
    budget = Answer(wire.GetBudgetResponse)
    delete_budget = Answer(wire.DeleteBudgetResponse)
    forecast = Answer(wire.GetForecastResponse)
    controls = Answer(wire.GetControlsResponse)
    report_spools = Answer(wire.ReportSpoolsResponse)
    create_destination = Answer(wire.CreateDestinationResponse)
    destinations = Answer(wire.ListDestinationsResponse)
    delete_destination = Answer(wire.DeleteDestinationResponse)
    test_destination = Answer(wire.TestDestinationResponse)
    notices = Answer(wire.ListNoticesResponse)
    anomalies = Answer(wire.ListAnomaliesResponse)


class FakeMoney(FakeLedger, FakeDeadLetters, FakeReports, FakePayments, FakeControls):
    """All that billing is asked about money that moves without a request, with one list of questions."""


class FakeMending:
    """Notes what it is asked and says what `lines` has; an error among them breaks off, and `refused` comes at once."""

    def __init__(self):
        self.asked, self.lines, self.refused = [], [], None

    async def refill(self, request):
        return await self._said(request)

    async def rebuild(self, request):
        return await self._said(request)

    async def _said(self, request):
        if self.refused is not None:
            raise self.refused
        self.asked.append(request)

        async def lines():
            for one in self.lines:
                if isinstance(one, Exception):
                    raise one
                yield one

        return lines()


class FakeMedia:
    """A job succeeds when it is waited for, with one asset per image; `fail` ends it otherwise."""

    def __init__(self):
        self.jobs = {}
        self._once = {}
        self.assets = {}
        self.created = []
        self.fail = None
        self.refuse = None
        # The model that can do what is asked; empty: any.
        self.only = ""
        # What Redis says to the hold of a job within limits; what does not begin with 1 is a refusal.
        self.admission = None

    async def create(self, request):
        if self.refuse is not None:
            raise self.refuse
        if self.only not in {"", request.model}:
            raise public_error(errors.ERROR_KIND_INVALID_REQUEST, "This model cannot do it.", "size")
        once = (request.tenant.organization_id, request.idempotency_key)
        if request.idempotency_key and once in self._once:
            return media.CreateJobResponse(job=self._once[once])
        if self.admission is not None and self.admission.verdict[0] != 1:
            return media.CreateJobResponse(admission=self.admission)
        self.created.append(request)
        job_id = f"job_{len(self.created)}"
        job = media.Job(
            id=job_id,
            kind=request.kind,
            state=media.JOB_STATE_QUEUED,
            tenant=request.tenant,
            model=request.model,
            image=request.image,
            request_id=request.request_id,
            created_at_us=1_764_000_000_000_000,
        )
        self.jobs[job_id] = self._once[once] = job
        return media.CreateJobResponse(job=job, admission=self.admission)

    def _own(self, request):
        job = self.jobs.get(request.job_id)
        if job is None or job.tenant.organization_id != request.organization_id:
            raise public_error(errors.ERROR_KIND_NOT_FOUND)
        return job

    async def get(self, request):
        return self._own(request)

    async def wait(self, request):
        job = self._own(request)
        if self.fail is not None:
            job.state = media.JOB_STATE_FAILED
            job.error.CopyFrom(self.fail)
            return job
        job.state = media.JOB_STATE_SUCCEEDED
        for index in range(job.image.count):
            data = f"png {job.image.prompt} {index}".encode()
            asset = media.Asset(
                id=f"{job.id}_{index}", sha256="00", content_type="image/png", size_bytes=len(data), index=index
            )
            job.assets.append(asset)
            self.assets[asset.id] = (job.tenant.organization_id, asset, data)
        return job

    async def list(self, request):
        own = [job for job in self.jobs.values() if job.tenant.organization_id == request.organization_id]
        return media.ListJobsResponse(jobs=own[: request.limit])

    async def read_asset(self, request):
        owner, asset, data = self.assets.get(request.asset_id, (None, None, b""))
        if owner is None or owner != request.organization_id:
            raise public_error(errors.ERROR_KIND_NOT_FOUND)

        async def pieces():
            yield data[:3]
            yield data[3:]

        return asset, pieces()


class FakeRouters:
    """`states` and `explanations` are (address, reply or None); `refuse` is raised instead."""

    def __init__(self):
        self.states = []
        self.explanations = []
        self.asked = []
        self.refuse = None

    async def describe(self):
        return self.states

    async def explain(self, request):
        self.asked.append(request)
        if self.refuse is not None:
            raise self.refuse
        return self.explanations

    async def set_channel_mode(self, request):
        self.asked.append(request)
        if self.refuse is not None:
            raise self.refuse
        return [(address, state is not None) for address, state in self.states]

    async def response(self, project_id, response_id):
        self.asked.append((project_id, response_id))
        if self.refuse is not None:
            raise self.refuse
        return b'{"id":"%b"}' % response_id.encode()

    async def input_items(self, request):
        self.asked.append(request)
        return b'{"object":"list","data":[]}'

    async def forget_response(self, project_id, response_id):
        self.asked.append((project_id, response_id))

    async def cancel_response(self, project_id, response_id):
        self.asked.append((project_id, response_id))
        return b'{"id":"%b","status":"cancelled"}' % response_id.encode()


class FakeKeysFile:
    def __init__(self):
        self.keys = None
        self.writes = 0

    def read(self):
        return self.keys

    def write(self, keys):
        self.writes += 1
        self.keys = keys
