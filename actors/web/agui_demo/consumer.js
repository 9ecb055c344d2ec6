/** A small client of AG-UI: the messages of a thread, the run that is told of, and what it asks, from events. */
export class Consumer {
  messages = [];
  interrupts = [];
  isRunning = false;

  take(event) {
    this.#rows[event.type]?.(event);
  }

  #find(id) {
    return this.messages.find((message) => message.id === id);
  }

  #add(message) {
    if (!this.#find(message.id)) this.messages.push(message);
  }

  #append({ messageId, delta }) {
    this.#find(messageId).content += delta;
  }

  #end(interrupts = []) {
    this.isRunning = false;
    this.interrupts = interrupts;
  }

  #rows = {
    __proto__: null,
    RUN_STARTED: ({ input }) => {
      this.isRunning = true;
      for (const message of input?.messages ?? []) this.#add(message);
    },
    MESSAGES_SNAPSHOT: ({ messages }) => (this.messages = structuredClone(messages)),
    TEXT_MESSAGE_START: ({ messageId: id, role }) => this.#add({ id, role, content: "" }),
    TEXT_MESSAGE_CONTENT: (event) => this.#append(event),
    REASONING_MESSAGE_START: ({ messageId: id }) => this.#add({ id, role: "reasoning", content: "" }),
    REASONING_MESSAGE_CONTENT: (event) => this.#append(event),
    TOOL_CALL_START: ({ toolCallId: id, toolCallName: name }) =>
      this.#add({ id, role: "assistant", toolCalls: [{ id, function: { name, arguments: "" } }] }),
    TOOL_CALL_ARGS: ({ toolCallId, delta }) => (this.#find(toolCallId).toolCalls[0].function.arguments += delta),
    TOOL_CALL_RESULT: ({ messageId: id, content }) => this.#add({ id, role: "tool", content }),
    RUN_FINISHED: ({ outcome }) => this.#end(outcome?.interrupts),
    RUN_ERROR: ({ message }) => {
      this.#end();
      this.#add({ id: crypto.randomUUID(), role: "error", content: message });
    },
  };
}
