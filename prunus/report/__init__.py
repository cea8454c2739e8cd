"""Floor 4, what was done, for people: the table of steps, curves of a training, HTML pages.

In: `StepRow` records, and folders of finished runs. Out: text, Markdown, PNG, one HTML file that
needs nothing else. Everything comes from files, so that any chain of verbs can be reported, also
one that another machine ran; what is missing is named, not guessed.
"""
