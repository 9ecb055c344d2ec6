"""A LangGraph graph with LangChain's fake model and an interrupt, as a handler of messages."""

from __future__ import annotations

from typing import Any

from langchain_core.language_models.fake_chat_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from actors import Message, aio


async def approve(state: MessagesState) -> dict[str, Any]:
    """Ask a person, in LangGraph's way."""
    return {"messages": [("user", interrupt({"question": "Deploy?"})["choice"])]}


async def answer(state: MessagesState) -> dict[str, Any]:
    """Answer with the model."""
    model = GenericFakeChatModel(messages=iter([AIMessage("It is done")]))
    return {"messages": [await model.ainvoke(state["messages"])]}


def graph() -> Any:
    """The graph: approve, then answer."""
    builder = StateGraph(MessagesState)
    builder.add_node("approve", approve)
    builder.add_node("answer", answer)
    builder.add_edge(START, "approve")
    builder.add_edge("approve", "answer")
    builder.add_edge("answer", END)
    return builder.compile(checkpointer=InMemorySaver())


async def assistant(run: aio.Run, message: Message) -> str:
    """Tell the run what the graph says, and ask the user what it asks."""
    config = {"configurable": {"thread_id": run.run_id}}
    given: Any = {"messages": [("user", str(message.payload["text"]))]}
    compiled, said = graph(), ""
    while given is not None:
        question = None
        async for mode, chunk in compiled.astream(given, config, stream_mode=["messages", "updates"]):
            if mode == "messages":
                run.delta(chunk[0].content)
                said += chunk[0].content
            elif "__interrupt__" in chunk:
                question = chunk["__interrupt__"][0].value
        given = None
        if question is not None:
            given = Command(resume=(await run.ask("approval", question, timeout=30)).payload)
    return said
