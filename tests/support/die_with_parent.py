"""Run a program that the kernel kills when its parent ends, however the parent ends.

`python -I -S die_with_parent.py PARENT-PID PROGRAM ARGUMENT...` asks for it and becomes the program; outside Linux it
only does the latter. It is a program of its own, because code between fork and exec is unsafe in a process with
threads. The parent, to the kernel, is the thread that started this: start long-lived programs from the main thread.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1

parent, program = int(sys.argv[1]), sys.argv[2:]
if sys.platform == "linux":
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
if os.getppid() != parent:
    sys.exit("the parent ended before the program started")
os.execvp(program[0], program)
