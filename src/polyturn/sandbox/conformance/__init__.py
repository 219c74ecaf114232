"""Attacks on graders, as programs: which of them does a grader survive?

    python -m polyturn.sandbox.conformance --against polyturn

A grader runs a program that nobody has read and says whether it is right. There are 43 known ways to make graders
score a wrong program, damage what is around them, or stop (`attacks.py`). This package holds each as one or more small
programs, grades them in a process of their own, looks from outside at what happened, and says so in a table. Harmless
programs that a grader must not refuse stand beside them (`canaries.py`).

    probe.py      what a probe is, and the tasks that probes pretend to solve
    liars.py, cheats.py, escapes.py, channels.py, denials.py    the attacks, by kind; attacks.py gathers them
    canaries.py   honest programs
    scene.py      what attacks aim at: files, a neighbouring process, listeners, a secret
    residue.py    what is left behind: processes, cgroups
    driver.py     runs inside the grader's process
    graders.py    starts a grader, hands it programs and judges what comes of them
    host.py       which layers of isolation this host could give

Attacks really run. Each is harmless by construction, contained or not: it aims at files, processes and sockets that
were made for it, starts at most some fifty short-lived processes, and ends by itself or by a kill of everything that
descends from the grader. Linux only: elsewhere there is no telling what was left behind.
"""
