"""The step of a trace that a report is about: the first that is not plumbing."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence

    from annotate.triage.plumbing import Plumbing
    from annotate.triage.trace import Step

#: Families that report rather than work: passed over even where all others are plumbing too.
_REPORTING = ("reporting", "sanitizers", "headers", "entry")

#: Behind which the steps are what was interrupted, and before which they are the interrupt.
_INTERRUPT = re.compile(
    r"(?:asm_sysvec_apic_timer_interrupt|apic_timer_interrupt|el1_irq|el1h_64_irq\w*|__irq_svc|do_trap_break"
    r"|call_on_irq_stack|handle_riscv_irq|do_irq|timer_interrupt|asm_sysvec_\w+|ret_from_intr|do_IRQ)"
)
#: Folders that hold what has nothing to do with each other: one further down in them is no closer.
_MIXED = ("kernel/", "lib/", "init/")

#: What calls drivers, file systems and protocols by a pointer: the step inside it is theirs.
_ANCHOR = re.compile(
    r"(?:process_one_work|do_syscall_\w+|netif_receive_skb\w*|__netif_receive_skb\w*|do_softirq\w*|__do_softirq"
    r"|handle_softirqs|call_timer_fn|vfs_(?:read|write|ioctl|iter_\w+)|__sock_(?:send|recv)msg|sock_\w+|__fput"
    r"|asm_exc_page_fault|smp_call_function\w*|kthread|task_work_run|invoke_syscall\w*)"
)


class Choice(NamedTuple):
    """The step that matters, and why, as a clause for people."""

    step: Step
    why: str
    named: Step  #: the step that titles name: the first that is no plumbing, in however shallow a folder


def choose(steps: Sequence[Step], plumbing: Plumbing, *, starts_interrupted: bool, has_pc: bool) -> Choice | None:
    """Choose among the steps of a trace, innermost first; None where there are none.

    ``starts_interrupted``: the report is of a CPU that an interrupt stopped to tell what it does. ``has_pc``: the first
    step is where an instruction pointer was.
    """
    reliable = [step for step in steps if step.is_reliable]
    remark = "" if reliable else "; the trace has unreliable entries only"
    candidates = reliable or list(steps)
    if not candidates:
        return None
    where = ""
    if starts_interrupted and not has_pc:
        entry = next((number for number, step in enumerate(candidates) if _INTERRUPT.fullmatch(step.function)), None)
        if entry is not None and entry + 1 < len(candidates):
            candidates = candidates[entry + 1 :]
            where = " of what was interrupted"
    families = [plumbing.family_of(step.function, step.file) for step in candidates]
    first = next((number for number, family in enumerate(families) if not family), None)
    if first is None:
        return _all_plumbing(candidates, families, remark)
    passed = [family for family in families[:first] if family != "headers"]
    if has_pc and candidates[first].symbol == candidates[0].symbol:
        why = "where the instruction pointer was"
    elif not passed:
        why = "first frame" + where
    else:
        why = f"first frame{where} below {len(passed)} of {_list(passed)}"
    named = candidates[first]
    deeper = _deeper(candidates, families, first)
    if deeper is not None:
        why = f"deepest folder below {_folder(candidates[first].file)}, from {candidates[first].function} on"
        first = deeper
    return Choice(candidates[first], why + remark, named)


def _all_plumbing(candidates: Sequence[Step], families: Sequence[str], remark: str) -> Choice:
    anchor = next((number for number, step in enumerate(candidates) if _ANCHOR.fullmatch(step.function)), 0)
    if anchor and families[anchor - 1] not in _REPORTING:
        why = f"all frames are plumbing: the one that {candidates[anchor].function} called"
        return Choice(candidates[anchor - 1], why + remark, candidates[anchor - 1])
    chosen = next((number for number, family in enumerate(families) if family not in _REPORTING), 0)
    why = f"all frames are plumbing ({_list(families)}): the first that works"
    return Choice(candidates[chosen], why + remark, candidates[chosen])


def _deeper(candidates: Sequence[Step], families: Sequence[str], first: int) -> int | None:
    """A step further out, of a file in a folder below that of the first one, and so on; None where there is none."""
    chosen = None
    folder = _folder(candidates[first].file)
    if not folder or folder in _MIXED:
        return None
    for number in range(first + 1, len(candidates)):
        other = _folder(candidates[number].file)
        if not families[number] and other != folder and other.startswith(folder):
            chosen, folder = number, other
    return chosen


def _folder(file: str | None) -> str:
    return "" if file is None else file[: file.rfind("/") + 1]


def _list(families: Sequence[str]) -> str:
    """``locking``, ``locking and RCU``: each once, in order."""
    names = list(dict.fromkeys(families))
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
