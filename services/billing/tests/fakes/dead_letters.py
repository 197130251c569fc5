"""Dead letters in a list."""

from services.billing.tests.fakes.crash import Fuse, guarded

from tollgate_kit.event_log import EventLogUnavailable


class FakeDeadLetters:
    def __init__(self, fuse=None):
        self.fuse = fuse or Fuse()
        self.letters = []
        self.away = False

    @guarded
    async def send(self, letters):
        if self.away:
            raise EventLogUnavailable("the log of letters is away")
        self.letters += letters
