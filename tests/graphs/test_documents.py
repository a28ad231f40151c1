"""Runs over documents as people have them: their languages, encodings and kinds."""

from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage, ToolMessage

from plan_execute.graphs import create_plan_execute_agent
from plan_execute.tools import document_tools
from tests.fakes import Answer, Asked, ScriptedModel, heavy, milestone, plan, report, synthesis, tool_call
from tests.tools.documents.files import make_docx, make_pdf, paragraph


def _chinese(folder: Path) -> None:
    (folder / "退货.md").write_text(
        "# 退货\n\n退货期限为收到商品之日起三十天。\n\n# 维修\n\n更换拉链需要三十二元。\n", "utf-8"
    )
    (folder / "其他.txt").write_text("工作人员每年有二十七天的假期。", "gb18030")


def _encodings(folder: Path) -> None:
    (folder / "返品.txt").write_text("返品は到着後三十日以内にお送りください。\n返品の送料は六百円です。", "shift_jis")
    (folder / "notes.txt").write_text("The key of the store is kept by Ruth.", "utf-16")


def _kinds(folder: Path) -> None:
    (folder / "rules.pdf").write_bytes(make_pdf("General rules.", "Parcels to Norway cost 41 dollars."))
    (folder / "contract.docx").write_bytes(
        make_docx(paragraph("Duration", "Heading1") + paragraph("It lasts three years."))
    )
    (folder / "page.html").write_text("<h1>Staff</h1><p>Everyone has 27 days.</p><p hidden>Or 90 days.</p>")


@pytest.mark.parametrize(
    ("fill", "query", "citation", "answer"),
    [
        (_chinese, "更换拉链", "[退货.md, line 7: 维修]", "更换拉链需要三十二元。"),
        (_chinese, "每年假期", "[其他.txt, line 1: 其他]", "工作人员每年有二十七天的假期。"),
        (_encodings, "送料", "[返品.txt, line 1: 返品]", "返品の送料は六百円です。"),
        (_encodings, "store key", "[notes.txt, line 1: notes]", "The key of the store is kept by Ruth."),
        (_kinds, "parcel Norway", "[rules.pdf, page 2: rules]", "Parcels to Norway cost 41 dollars."),
        (_kinds, "how long lasting", "[contract.docx: Duration]", "It lasts three years."),
        (_kinds, "staff days", "[page.html: Staff]", "Everyone has 27 days."),
    ],
)
def test_documents_answer(tmp_path: Path, fill: Callable[[Path], None], query: str, citation: str, answer: str) -> None:
    fill(tmp_path)
    light = ScriptedModel(_look_up(query))
    planner = heavy(plan(milestone("Look it up.", tools=["search_documents"])), synthesis(answer))
    agent = create_plan_execute_agent(planner, light, document_tools(tmp_path))
    result = agent.invoke({"messages": [HumanMessage(query)]})
    assert result["status"] == "completed"
    assert result["milestones"]["m1"]["result"] == f"{citation}\n{answer}"


def _look_up(query: str) -> Callable[[Asked], Answer]:
    """Search, and report the citation and the last line of the best passage."""

    def answer(asked: Asked) -> Answer:
        found = [message for message in asked.messages if isinstance(message, ToolMessage)]
        if not found:
            return tool_call("search_documents", {"query": query})
        citation, *lines = found[-1].text.split("\n\n[")[0].splitlines()
        return report(f"{citation}\n{lines[-1]}")

    return answer
