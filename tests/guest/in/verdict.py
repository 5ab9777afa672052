"""What a scenario found: comparisons that go on after the first failure, and figures worth a line."""


class Verdict:
    def __init__(self):
        self.checks = 0
        self.failures = []
        self.said = []
        # Lines printed below the verdict.
        self.table = []
        self.worst = {}

    def say(self, text):
        self.said.append(text)

    def true(self, holds, what):
        self.checks += 1
        if not holds:
            self.failures.append(what)

    def near(self, what, got, want, part, slack=0, group=None):
        """`got` is within `part` of `want`, or within `slack` of it, whichever is more."""
        self.checks += 1
        if got is None:
            self.failures.append(f"{what}: expected {want}, the agent has no figure")
            return
        off = abs(got - want)
        share = off / want if want else (0.0 if not off else float("inf"))
        if group:
            self.worst[group] = max(self.worst.get(group, 0.0), share)
        if off > max(want * part, slack):
            sign = "+" if got >= want else "-"
            self.failures.append(
                f"{what}: expected {want} ± {part:.1%}, got {got} ({sign}{share:.2%})"
            )

    def at_least(self, what, got, least):
        self.checks += 1
        if got is None or got < least:
            self.failures.append(f"{what}: expected at least {least}, got {got}")

    def at_most(self, what, got, most):
        self.checks += 1
        if got is None or got > most:
            self.failures.append(f"{what}: expected at most {most}, got {got}")

    def summary(self):
        worst = [f"{group} off by up to {share:.2%}" for group, share in self.worst.items()]
        return f"{self.checks} checks; " + "; ".join(self.said + worst)
