"""Dead letters in a list."""

from services.billing.tests.fakes.crash import Fuse, guarded


class FakeDeadLetters:
    def __init__(self, fuse=None):
        self.fuse = fuse or Fuse()
        self.letters = []

    @guarded
    async def send(self, letters):
        self.letters += letters
