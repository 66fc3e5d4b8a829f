"""What users can cause: one clear line that names the field and the fix."""


class RedhandedError(Exception):
    """An error a user can cause and mend; the command line prints its text and exits with 2."""


class BudgetExhaustedError(RedhandedError):
    """A call would have sent more queries than the budget allows; nothing of it was sent."""


class OutOfTimeError(RedhandedError):
    """The time limit came while work was under way; what was finished is saved, the rest resumes."""
