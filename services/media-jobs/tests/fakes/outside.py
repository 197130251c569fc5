"""What lies outside the process: holds, providers, their addresses, bytes, the event log and the configuration."""

from dataclasses import replace

from tollgate_holds import HoldResult, LimitSet
from tollgate_holds.local import LocalLimits
from tollgate_media_jobs.errors import BlobsUnavailable, HoldsUnavailable, Unavailable
from tollgate_media_jobs.ports import Held, HoldState

PIECE = 65536


class FakeHolds:
    """A wallet per organization; no entry is no wallet. Limits are those of `LocalLimits`, at the second `now`."""

    def __init__(self, **wallets):
        self.wallets = wallets
        self.held = {}
        self.gone = set()
        self.away = False
        self.limits, self.now = LocalLimits(), 1_000
        self.finished = []

    def _check(self):
        if self.away:
            raise HoldsUnavailable("switched off")

    async def hold(self, job, *, prepaid):
        self._check()
        organization_id, hold_id, amount_pico = job.tenant.organization_id, job.request_id, job.hold_pico
        if hold_id in self.gone:
            return Held(HoldState.GONE)
        if hold_id in self.held:
            return Held(HoldState.HELD)
        wallet, verdict = self.wallets.get(organization_id), ()
        if job.tenant.limits:
            limits = LimitSet(organization_id, job.tenant.limits)
            verdict = tuple(self.limits.hold(limits, hold_id, job.counted_tokens, self.now * 1000))
            if verdict[0] != HoldResult.DONE:
                return Held(HoldState.OVER_LIMIT, verdict)
        if prepaid and (wallet is None or wallet < amount_pico):
            poor = (HoldState.NO_WALLET, 2) if wallet is None else (HoldState.INSUFFICIENT, 0)
            return Held(poor[0], self._uncounted(job, verdict, poor[1]))
        self.wallets[organization_id] = (wallet or 0) - amount_pico
        self.held[hold_id] = amount_pico
        return Held(HoldState.HELD, verdict)

    def _uncounted(self, job, verdict, result):
        if not verdict:
            return ()
        self._correct(replace(job, counted_second=verdict[1]), tokens=-job.counted_tokens, requests=-1)
        requests, tokens = verdict[3] + 1, verdict[6] + job.counted_tokens
        return (result, 0, verdict[2], requests, verdict[4], verdict[5], tokens, *verdict[7:])

    async def renew(self, job):
        self._check()
        return HoldState.HELD if job.request_id in self.held else HoldState.GONE

    async def release(self, job):
        self._check()
        if job.request_id in self.held:
            self.wallets[job.tenant.organization_id] += self.held.pop(job.request_id)
            self._correct(job, tokens=-job.counted_tokens, requests=-1)

    async def finish(self, job, tokens):
        self._check()
        if job.tenant.limits:
            self.finished.append((job.request_id, tokens))
            self._correct(job, tokens=tokens - job.counted_tokens)

    def _correct(self, job, **by):
        limits = LimitSet(job.tenant.organization_id, job.tenant.limits)
        self.limits.finish(limits, job.request_id, job.counted_second, **by)

    def expire(self, organization_id, hold_id):
        """What the sweep does to a hold whose time is over."""
        self.wallets[organization_id] += self.held.pop(hold_id)
        self.gone.add(hold_id)


class FakeProvider:
    """Gives scripted answers in turn; `calls` is its ledger, `files` the pictures that came with each."""

    def __init__(self):
        self.script = []
        self.calls, self.files = [], []

    async def generate(self, target, image, files=()):
        self.calls.append((target.channel.name, target.upstream_model, image))
        self.files.append(tuple(files))
        answer = self.script.pop(0)
        if callable(answer):
            answer = await answer()
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeFetcher:
    """Addresses and what they answer: bytes, or an error; a list is one answer after the other."""

    def __init__(self):
        self.pages = {}
        self.asked = []

    async def fetch(self, url, *, private_network):
        self.asked.append((url, private_network))
        page = self.pages[url]
        answer = page.pop(0) if isinstance(page, list) else page
        if isinstance(answer, Exception):
            raise answer
        return answer


class FakeBlobs:
    def __init__(self):
        self.kept = {}
        self.away = False

    def _check(self):
        if self.away:
            raise BlobsUnavailable("switched off")

    async def put(self, key, data, content_type):
        self._check()
        self.kept[key] = data

    async def get(self, key):
        self._check()
        return self.kept.get(key)

    async def read(self, key):
        self._check()
        if key not in self.kept:
            raise BlobsUnavailable("not there")
        data = self.kept[key]
        for start in range(0, len(data), PIECE):
            yield data[start : start + PIECE]

    async def remove_below(self, prefix):
        self._check()
        for key in [key for key in self.kept if key.startswith(prefix)]:
            del self.kept[key]


class FakeEventLog:
    def __init__(self):
        self.sent = []
        self.away = False

    async def send(self, messages):
        if self.away:
            raise Unavailable("switched off")
        self.sent += [(message.topic, message.key, payload) for message, payload in messages]


class FakeVersions:
    def __init__(self, version=None):
        self.version = version

    def current(self):
        return self.version


class Failpoints:
    """Notes what was reached; the place named `stop` raises, as a kill would end what follows."""

    class Reached(BaseException):
        pass

    def __init__(self, stop=""):
        self.reached = []
        self.stop = stop

    def reach(self, name):
        self.reached.append(name)
        if name == self.stop:
            raise self.Reached(name)
