"""What was changed and what was left, without any secret."""

import sys


class Refused(Exception):
    """Something is wrong, and was found before anything was changed."""


class Problem(Exception):
    """Something went wrong on the way."""


class Report:
    def __init__(self, dry_run):
        self.dry_run = dry_run
        self.changes = 0
        self.kept = 0
        self.trials = 0
        self._hidden = set()

    def hide(self, values):
        """From now on these are never printed, wherever a text has them from."""
        self._hidden.update(value for value in values if value and len(value) >= 4)

    def changed(self, what, how, lines=()):
        self.changes += 1
        self._say("would change" if self.dry_run else "changed", f"{what}: {how}", lines)

    def left(self, what):
        self.kept += 1
        self._say("left", what)

    def tried(self, what, found):
        self.trials += 1
        self._say("tried", f"{what}: {found}")

    def summary(self):
        verb = "would be changed" if self.dry_run else "changed"
        return f"{self.changes} {verb}, {self.kept} left as they are, {self.trials} tried"

    def fail(self, text):
        print("setup: " + self._masked(text).replace("\n", "\nsetup: "), file=sys.stderr)

    def _say(self, verb, text, lines=()):
        print(self._masked("\n              ".join([f"{verb:13} {text}", *lines])), flush=True)

    def _masked(self, text):
        for value in sorted(self._hidden, key=len, reverse=True):
            text = text.replace(value, "***")
        # What a server says may hold commands for a terminal.
        return "".join(letter if letter.isprintable() or letter in "\t\n" else "?" for letter in text)
