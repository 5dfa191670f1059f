"""The happy path: from `dispatch` through the journal and the router to a handler, and back to the journal.

    caller ── encode, check ──▶ journal ── group commit ──▶ router ──▶ pool mailbox ──▶ handler actor
                                  ▲                                                        │
                                  └──────────── outcome + follow-ups ──────────────────────┘

What goes wrong is reported upwards, to `everact.supervision`, in messages; nothing here imports it.
"""
