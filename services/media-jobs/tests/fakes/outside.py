"""What lies outside the process: holds, providers, their addresses, bytes, the event log and the configuration."""

from tollgate_media_jobs.errors import BlobsUnavailable, HoldsUnavailable, Unavailable
from tollgate_media_jobs.ports import HoldState

PIECE = 65536


class FakeHolds:
    """A wallet per organization; no entry is no wallet."""

    def __init__(self, **wallets):
        self.wallets = wallets
        self.held = {}
        self.gone = set()
        self.away = False

    def _check(self):
        if self.away:
            raise HoldsUnavailable("switched off")

    async def hold(self, organization_id, hold_id, amount_pico):
        self._check()
        if organization_id not in self.wallets:
            return HoldState.NO_WALLET
        if hold_id in self.gone:
            return HoldState.GONE
        if hold_id in self.held:
            return HoldState.HELD
        if self.wallets[organization_id] < amount_pico:
            return HoldState.INSUFFICIENT
        self.wallets[organization_id] -= amount_pico
        self.held[hold_id] = amount_pico
        return HoldState.HELD

    async def renew(self, organization_id, hold_id):
        self._check()
        return HoldState.HELD if hold_id in self.held else HoldState.GONE

    async def release(self, organization_id, hold_id):
        self._check()
        if hold_id in self.held:
            self.wallets[organization_id] += self.held.pop(hold_id)

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
