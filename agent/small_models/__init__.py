"""Compact forms of the roles for small models, and the bundled model, which needs them.

A model of a few hundred million parameters cannot write a plan, but it can choose between options. So it never writes a
text that matters: goals are spans of the request, arguments are put together from choices, answers copy results.

Skip this room if your models are big: nothing here is imported until a model asks for it with
`metadata={"compact": True}`, or is named `local:...`. The only way in is `agent/llm/models.py`. In reading order:

- `compact`: planner and synthesizer, and the way to the executor
- `executor_model`: the executor, as a chat model that makes tool calls and the report
- `tool_use`: which tool serves a goal, and its arguments
- `sql`: the argument that is a database query
- `words`: what code reads in a text without a model
- `choice`, `prompts`: one question to the model, and the examples it is shown
- `chat_model`, `engine`, `option_scoring`: the bundled model, or any GGUF file, in this process
"""
