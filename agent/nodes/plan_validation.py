"""Plan validation: the rules a draft must follow before anything runs, and its adoption under ids of our own."""

import re
from collections.abc import Collection, Mapping, Sequence
from difflib import SequenceMatcher
from graphlib import CycleError, TopologicalSorter

from plan_execute.agent.build import Build
from plan_execute.agent.context import Context
from plan_execute.agent.nodes.call_validation import call_objections, yields_of
from plan_execute.agent.schemas import MilestoneDraft, PlanDraft, YieldDraft
from plan_execute.agent.state import Milestone, Requirement, Yield
from plan_execute.agent.truncation import fold
from plan_execute.agent.trust.references import parse_args, references_in, rename

MOST_OBJECTIONS = 20
"""Most objections to a draft that are listed."""

ALIKE = 0.5
"""From this `difflib` ratio on, two texts count as the same requirement in other words."""
_CALL = re.compile(r"\(.*\Z", re.DOTALL)
_REQUIREMENT = re.compile(r"(?:r|req|requirements?)[\s_#.-]*\d+", re.IGNORECASE)
"""What follows the name in a call; how a model names a requirement."""
_Named = dict[str, tuple[MilestoneDraft, list[str]]]
"""The milestones of a draft by name, each with the names it depends on."""


def mend_draft(
    draft: PlanDraft,
    *,
    tools: Collection[str],
    requirements: Sequence[Requirement] = (),
    finished: Mapping[str, Milestone] | None = None,
) -> PlanDraft:
    """Mend what weak models get wrong in the form of a draft, where it is certain what they mean.

    A tool in the form of a call, with a namespace or in other letters is that tool; one that is pinned is granted where
    none is. A dependency with words behind its id is that id; one on a requirement is none. A milestone depends on
    those whose values it refers to. A requirement that does not exist is not covered, and the only
    milestone of a plan, if it names no requirement, covers all.

    Args:
        draft: What the planner filled in.
        tools: Names in the catalogue.
        requirements: Those frozen by the first plan; empty for a first plan.
        finished: Completed milestones of earlier revisions, by id.

    Returns:
        The draft itself, or a mended copy.
    """
    merged, numbers = merge_requirements(requirements, draft)
    existing = {requirement["number"] for requirement in merged} | numbers.keys()
    texts = {fold(text) for text in [*draft.requirements, *(requirement["text"] for requirement in merged)]}
    ids = {milestone.id.strip().casefold(): milestone.id.strip() for milestone in draft.milestones}
    milestones = [
        milestone.model_copy(
            update={
                "tools": [_tool_meant(name, tools) for name in milestone.tools or _tools_pinned(milestone)],
                "calls": [call.model_copy(update={"tool": _tool_meant(call.tool, tools)}) for call in milestone.calls],
                "depends_on": [
                    _reference_meant(ref, ids, finished or {})
                    for ref in [*map(str.strip, milestone.depends_on), *_referred_to(milestone, ids, finished or {})]
                    if ref and not (ref not in ids.values() and (_REQUIREMENT.fullmatch(ref) or fold(ref) in texts))
                ],
                "covers": [number for number in milestone.covers if number in existing],
            }
        )
        for milestone in draft.milestones
    ]
    if len(milestones) == 1 and not milestones[0].covers:
        drafted = {number: given for given, number in numbers.items()}
        milestones[0].covers = [drafted.get(r["number"], r["number"]) for r in merged]
    return draft.model_copy(update={"milestones": milestones})


def validate_draft(
    draft: PlanDraft,
    *,
    tools: Collection[str],
    max_milestones: int,
    requirements: Sequence[Requirement] = (),
    finished: Mapping[str, Milestone] | None = None,
    strict: bool = False,
    most_calls: int | None = None,
) -> list[str]:
    """Find everything that is wrong with a draft, each in one sentence for the planner.

    Args:
        draft: What the planner filled in.
        tools: The catalogue: names, or tools by name, against which pinned arguments are then checked.
        max_milestones: The most milestones this granularity allows.
        requirements: Those frozen by the first plan; empty for a first plan.
        finished: Completed milestones of earlier revisions, by id; they count as coverage and may be depended on.
        strict: Whether the run is in strict trust, in which tools that act are called as the plan pins it.
        most_calls: The most calls a milestone may pin.

    Returns:
        The objections, empty for a draft that may run; at most `MOST_OBJECTIONS`, and how many more there are.
    """
    finished = finished or {}
    named, repeated = _name_milestones(draft)
    objections = _size_objections(draft, max_milestones, replanning=bool(requirements or finished))
    earlier = {name: yields_of(milestone) for key, milestone in finished.items() for name in (key, f"done:{key}")}
    earlier |= {name: yields_of(milestone) for name, (milestone, _) in named.items()}
    for name, (milestone, references) in named.items():
        objections += _milestone_objections(name, milestone, tools)
        objections += call_objections(name, milestone, tools, earlier, strict=strict, most_calls=most_calls)
        objections += _reference_objections(name, references, named, repeated, finished)
    objections += _cycle_objections(named)
    objections += _coverage_objections(draft, requirements, finished)
    more = len(objections) - MOST_OBJECTIONS
    return [*objections[:MOST_OBJECTIONS], f"And {more} more."] if more > 0 else objections


def objections_to(
    draft: PlanDraft,
    build: Build,
    context: Context,
    *,
    requirements: Sequence[Requirement] = (),
    finished: Mapping[str, Milestone] | None = None,
) -> list[str]:
    """Find what is wrong with a draft in this graph and under these settings; see `validate_draft`."""
    return validate_draft(
        draft,
        tools=build.tools,
        max_milestones=context.milestone_limit,
        requirements=requirements,
        finished=finished,
        strict=context.trust == "strict",
        most_calls=context.tool_call_limit,
    )


def without_pins(draft: PlanDraft) -> PlanDraft:
    """Leave out all calls and yields, so that executors carry out every milestone."""
    milestones = [milestone.model_copy(update={"calls": [], "yields": []}) for milestone in draft.milestones]
    return draft.model_copy(update={"milestones": milestones})


def adopt_draft(
    draft: PlanDraft,
    *,
    revision: int,
    known: Mapping[str, Milestone],
    requirements: Sequence[Requirement] = (),
    edited: Collection[str] = (),
) -> tuple[dict[str, Milestone], list[Requirement]]:
    """Turn a valid draft into milestones with ids of our own and the run's requirements.

    Ids are counted through all revisions, so a draft that counts from 1 again causes no collision. In `depends_on` a
    name means the draft's milestone of that name, else a finished one. A milestone with the goal and tools of a
    finished one is that one, and does not run again.

    Args:
        draft: A draft without objections.
        revision: The number of the plan.
        known: All milestones so far, by id.
        requirements: Those frozen by the first plan.
        edited: Ids of milestones that the draft has under the same names: those of the plan that a person edits.

    Returns:
        The new milestones in plan order, all pending, and all requirements: the frozen ones, then what was added.
    """
    merged, numbers = merge_requirements(requirements, draft)
    named, _ = _name_milestones(draft)
    own = _own_ids(named, known, edited)
    ids = _run_ids(own, known)
    milestones: dict[str, Milestone] = {}
    for name, (milestone, references) in named.items():
        if own[name] in known and own[name] not in edited:
            continue
        depends_on = [_resolve(ref, own, known) for ref in references]
        milestones[own[name]] = Milestone(
            id=own[name],
            goal=milestone.goal,
            done_when=milestone.done_when,
            tools=list(dict.fromkeys(milestone.tools)),
            calls=[{"tool": call.tool, "args": rename(call.args, ids)} for call in milestone.calls],
            yields=[_yield_of(wanted) for wanted in milestone.yields],
            pitfalls=milestone.pitfalls,
            depends_on=list(dict.fromkeys(depends_on)),
            covers=sorted({numbers.get(number, number) for number in milestone.covers}),
            revision=revision,
            status="pending",
            attempts=0,
            result="",
            values={},
            report=None,
            failure=None,
            answers={},
            tool_calls=[],
            usage={},
            started_at=None,
            finished_at=None,
        )
        if milestone.open:
            milestones[own[name]]["open"] = True
    return milestones, merged


def _yield_of(draft: YieldDraft) -> Yield:
    wanted = Yield(name=draft.name, kind=draft.kind, options=draft.options)
    return wanted if draft.path is None else {**wanted, "path": draft.path}


def adopt_answer(draft: PlanDraft, known: Mapping[str, Milestone], edited: Collection[str] = ()) -> str:
    """Return the answer of a draft with the ids that `adopt_draft` gives its milestones."""
    named, _ = _name_milestones(draft)
    return rename(draft.answer or "", _run_ids(_own_ids(named, known, edited), known))


def merge_requirements(frozen: Sequence[Requirement], draft: PlanDraft) -> tuple[list[Requirement], dict[int, int]]:
    """Leave the frozen requirements unchanged, and number those that a draft adds after them.

    A later draft may repeat, reword or drop frozen requirements without effect. It adds only those that one of its
    milestones covers, because it covers a reworded one by the old number.

    Returns:
        All requirements, and the number of each added one by the number under which the draft covers it.
    """
    texts = [fold(requirement["text"]) for requirement in frozen]
    if frozen and _repeats(texts, draft.requirements):
        added = draft.requirements[len(frozen) :]
    else:
        added = [text for text in draft.requirements if not frozen or (text.strip() and fold(text) not in texts)]
    merged, numbers = list(frozen), {}
    covered = {number for milestone in draft.milestones for number in milestone.covers}
    for drafted, text in enumerate(added, start=len(frozen) + 1):
        if text.strip() and (not frozen or drafted in covered):
            numbers[drafted] = len(merged) + 1
            merged.append(Requirement(number=numbers[drafted], text=text, met=None, milestones=[], note=None))
    return merged, numbers


def _repeats(texts: Sequence[str], drafted: Sequence[str]) -> bool:
    """Tell whether a draft lists all requirements again, in order, unchanged or in other words."""
    pairs = zip(texts, map(fold, drafted), strict=False)
    return len(drafted) >= len(texts) and all(SequenceMatcher(None, *pair).ratio() >= ALIKE for pair in pairs)


def _tools_pinned(milestone: MilestoneDraft) -> list[str]:
    return list(dict.fromkeys(call.tool for call in milestone.calls))


def _referred_to(milestone: MilestoneDraft, ids: Mapping[str, str], finished: Mapping[str, Milestone]) -> list[str]:
    """Return the names of the milestones whose values a milestone refers to."""
    references = (reference for call in milestone.calls for reference, _ in references_in(parse_args(call.args)))
    own = milestone.id.strip()
    names = dict.fromkeys(reference.of for reference in references if reference.of != own)
    return [name for name in names if name in ids.values() or _finished_id(name, finished)]


def _tool_meant(name: str, tools: Collection[str]) -> str:
    """Return the tool of the catalogue that a name certainly stands for; the name itself if there is none."""
    if name in tools:
        return name
    meant = re.sub(r"[\W_]", "", _CALL.sub("", name).rpartition(".")[2]).casefold()
    known = [tool for tool in tools if re.sub(r"[\W_]", "", tool).casefold() == meant]
    return known[0] if len(known) == 1 else name


def _reference_meant(ref: str, ids: Mapping[str, str], finished: Mapping[str, Milestone]) -> str:
    """Return the id with which a reference begins; the reference itself if it begins with none."""
    if ref in ids.values() or _finished_id(ref, finished) is not None:
        return ref
    begin = re.split(r"[\s:,.;()\[\]-]", ref.removeprefix("done:"))[0]
    if ref.startswith("done:"):
        return f"done:{begin}" if begin in finished else ref
    return ids.get(ref.casefold()) or ids.get(begin.casefold()) or (begin if begin in finished else ref)


def _size_objections(draft: PlanDraft, max_milestones: int, *, replanning: bool) -> list[str]:
    if len(draft.milestones) > max_milestones:
        return [f"The plan has {len(draft.milestones)} milestones; at most {max_milestones} are allowed: merge some."]
    if not draft.milestones and not draft.answer and not replanning:
        return ["The plan is empty: give milestones, or a direct answer if nothing needs to be done."]
    return []


def _milestone_objections(name: str, milestone: MilestoneDraft, tools: Collection[str]) -> list[str]:
    objections = []
    if not milestone.goal.strip():
        objections.append(f"Milestone {name!r} has no goal.")
    for tool in milestone.tools:
        if tool not in tools:
            known = ", ".join(sorted(tools)) or "none"
            objections.append(f"Milestone {name!r} names the unknown tool {tool!r}; the catalogue has: {known}.")
    return objections


def _reference_objections(
    name: str, references: Sequence[str], named: _Named, repeated: Collection[str], finished: Mapping[str, Milestone]
) -> list[str]:
    objections = []
    for ref in references:
        if ref == name:
            objections.append(f"Milestone {name!r} depends on itself.")
        elif ref in repeated:
            objections.append(f"Milestone {name!r} depends on {ref!r}, the id of several milestones: make ids unique.")
        elif ref not in named and _finished_id(ref, finished) is None:
            objections.append(f"Milestone {name!r} depends on {ref!r}, which is not in the plan.")
    return objections


def _cycle_objections(named: _Named) -> list[str]:
    graph = {name: [ref for ref in refs if ref in named and ref != name] for name, (_, refs) in named.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return [f"The dependencies form a cycle: {' -> '.join(error.args[1])}; each may depend on earlier ones only."]
    return []


def _coverage_objections(
    draft: PlanDraft, requirements: Sequence[Requirement], finished: Mapping[str, Milestone]
) -> list[str]:
    if not draft.milestones and not requirements:
        return []
    merged, numbers = merge_requirements(requirements, draft)
    covered = {numbers.get(number, number) for milestone in draft.milestones for number in milestone.covers}
    covered |= {number for milestone in finished.values() for number in milestone["covers"]}
    known = {requirement["number"] for requirement in merged}
    missing = [
        f"Requirement {requirement['number']} ({requirement['text']!r}) is covered by no milestone."
        for requirement in merged
        if requirement["number"] not in covered
    ]
    unknown = [f"A milestone covers requirement {n}, which does not exist." for n in sorted(covered - known)]
    return missing + unknown


def _name_milestones(draft: PlanDraft) -> tuple[_Named, set[str]]:
    """Give each milestone of a draft a unique name, and resolve what it depends on.

    The name is the milestone's id, or its position; only the first of several with one id has it as name. In
    `depends_on`, a number that is not an id counts as a position.

    Returns:
        The milestones, and the ids that several of them have.
    """
    names: list[str] = []
    used, repeated = set[str](), set[str]()
    for position, milestone in enumerate(draft.milestones, start=1):
        name = milestone.id.strip() or f"m{position}"
        if name in used:
            repeated.add(name)
        while name in used:
            name = f"{name}#{position}"
        used.add(name)
        names.append(name)
    by_position = {str(position): name for position, name in enumerate(names, start=1)}
    named = {}
    for name, milestone in zip(names, draft.milestones, strict=True):
        refs = map(str.strip, milestone.depends_on)
        named[name] = milestone, [ref if ref in used else by_position.get(ref, ref) for ref in refs]
    return named, repeated


def _own_ids(named: _Named, known: Mapping[str, Milestone], edited: Collection[str]) -> dict[str, str]:
    """Map each name of the draft to our id: a new one, that of the finished milestone it repeats, or as it was."""
    finished = {_identity(m["goal"], m["tools"]): key for key, m in known.items() if m["status"] == "completed"}
    own: dict[str, str] = {}
    count = len(known)
    for name, (milestone, _) in named.items():
        repeated = finished.get(_identity(milestone.goal, milestone.tools))
        if repeated is None and name in edited:
            own[name] = name
            continue
        count += repeated is None
        own[name] = repeated or f"m{count}"
    return own


def _run_ids(own: Mapping[str, str], known: Mapping[str, Milestone]) -> dict[str, str]:
    """Map what a draft may refer to, its own milestones and finished ones, to our ids."""
    return {**{f"done:{key}": key for key in known}, **own}


def _identity(goal: str, tools: Sequence[str]) -> tuple[str, frozenset[str]]:
    return fold(goal), frozenset(tools)


def _resolve(ref: str, own: Mapping[str, str], known: Mapping[str, Milestone]) -> str:
    if ref in own:
        return own[ref]
    resolved = _finished_id(ref, known)
    if resolved is None:
        raise ValueError(f"Dependency {ref!r} cannot be resolved: adopt only drafts without objections.")
    return resolved


def _finished_id(ref: str, finished: Mapping[str, Milestone]) -> str | None:
    key = ref.removeprefix("done:")
    milestone = finished.get(key)
    return key if milestone is not None and milestone["status"] == "completed" else None
