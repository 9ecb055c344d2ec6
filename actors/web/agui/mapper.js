/**
 * The events of one thread as AG-UI 1.0 events. It decides, and does not wait.
 *
 * The mapper of Python, in actors/agui, says the same: both are held to tests/agui/vectors.
 */

const METADATA = "trio-actors";
const LAST = /^agent_(completed|failed|cancelled)$/;
const OF_A_RUN = /^(agent_(delta|thinking|completed|failed|cancelled)|tool_(executing|completed))$/;
const KEPT = /^(system|developer)$/;

const isText = (value) => typeof value === "string";
const isRecord = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const textOf = (value) => (isText(value) ? value : JSON.stringify(value ?? null));

function metadata({ seq, offset, event_id }) {
  return { metadata: { [METADATA]: event_id === undefined ? { seq, offset } : { seq, offset, event_id } } };
}

const stamp = (event) => ({ timestamp: Math.trunc((event.timestamp ?? 0) * 1000), ...metadata(event) });

/** A run in the course of a thread's events. */
class CourseRun {
  textId = null;
  calls = new Set();
  /** How far the client's own copy of that text goes, where the log has lost its beginning. */ knownSeq = 0;
  end = null;
  given = [];
  /** Until it says something: a client that is told of its beginning has missed nothing. */ isNew = true;
  wasSaid = false;

  constructor(runId, name, parent, first) {
    Object.assign(this, { runId, name, parent, first });
  }

  get root() {
    return this.parent ? this.parent.root : this;
  }

  get owner() {
    return this.parent ? { subagentRunId: this.runId } : {};
  }

  closeText() {
    const messageId = this.textId;
    this.textId = null;
    return messageId === null ? [] : [{ type: "TEXT_MESSAGE_END", messageId, ...this.owner }];
  }
}

/** What each event of a run is; a row that does not find its fields returns undefined. */
const ROWS = {
  __proto__: null,

  agent_delta(run, { seq, seq0, payload: { text } }) {
    if (!isText(text)) return;
    const isOpen = run.textId !== null;
    run.textId ??= `${run.runId}.${seq0 ?? seq}`;
    const about = { messageId: run.textId, ...run.owner };
    const content = { type: "TEXT_MESSAGE_CONTENT", delta: text, ...about };
    return isOpen ? [content] : [{ type: "TEXT_MESSAGE_START", role: "assistant", ...about }, content];
  },

  agent_thinking(run, { seq, event_id, payload: { text } }) {
    if (!isText(text)) return;
    const about = { messageId: event_id ?? `${run.runId}.${seq}`, ...run.owner };
    return [
      ...run.closeText(),
      { type: "REASONING_START", ...about },
      { type: "REASONING_MESSAGE_START", role: "reasoning", ...about },
      { type: "REASONING_MESSAGE_CONTENT", delta: text, ...about },
      { type: "REASONING_MESSAGE_END", ...about },
      { type: "REASONING_END", ...about },
    ];
  },

  tool_executing(run, { payload: { tool_name, tool_call_id, arguments: given = {} } }) {
    const toolCallId = `${run.runId}:${tool_call_id}`;
    if (!isText(tool_call_id) || !isText(tool_name) || run.calls.has(toolCallId)) return;
    run.calls.add(toolCallId);
    return [
      ...run.closeText(),
      { type: "TOOL_CALL_START", toolCallName: tool_name, toolCallId, ...run.owner },
      { type: "TOOL_CALL_ARGS", delta: textOf(given), toolCallId, ...run.owner },
      { type: "TOOL_CALL_END", toolCallId, ...run.owner },
    ];
  },

  tool_completed(run, { seq, event_id, payload: { tool_call_id, ok, result, error } }) {
    if (!isText(tool_call_id)) return;
    const about = { messageId: event_id ?? `${run.runId}.${seq}`, toolCallId: `${run.runId}:${tool_call_id}` };
    const content = textOf(ok === true ? result : error);
    return [...run.closeText(), { type: "TOOL_CALL_RESULT", ...about, role: "tool", content, ...run.owner }];
  },
};

function custom(run, { type, payload }) {
  return [...run.closeText(), { type: "CUSTOM", name: type, value: payload, ...run.owner }];
}

function ended(run, { type, payload }, threadId) {
  const [{ owner }, isChild] = [run, run.parent !== null];
  if (type === "agent_failed") {
    const error = isRecord(payload.error) ? payload.error : { message: payload.error ?? "" };
    const { message = "", type: code = "failed" } = error;
    return { type: isChild ? "SUBAGENT_ERROR" : "RUN_ERROR", message: textOf(message), code: textOf(code), ...owner };
  }
  const result = payload.result == null ? {} : { result: payload.result }; // null is deprecated: a client warns of it
  const isCancelled = type === "agent_cancelled";
  if (isChild && isCancelled) {
    return { type: "SUBAGENT_ERROR", message: textOf(payload.reason ?? ""), code: "cancelled", ...owner };
  }
  if (isChild) return { type: "SUBAGENT_FINISHED", ...owner, ...result };
  const end = { type: "RUN_FINISHED", threadId, runId: run.runId };
  return isCancelled ? { ...end, outcome: { type: "cancelled" } } : { ...end, outcome: { type: "success" }, ...result };
}

const MEDIA = /^(image|audio|video|document)$/;
const SOURCES = { __proto__: null, data: ["value", "mimeType"], url: ["value"], file: ["value"] };

const has = (record, names) => Object.keys(record).every((name) => names.includes(name));

/** Whether every client takes a part of a message; one that is not would fail all of the user's clients. */
function isPart(part) {
  if (!isRecord(part) || !isText(part.id ?? "") || part.id === null) return false;
  if (part.type === "text") return has(part, ["type", "text", "id", "metadata"]) && isText(part.text);
  const { type, source } = part;
  if (!isText(type) || !MEDIA.test(type) || !has(part, ["type", "source", "id", "metadata"])) return false;
  if (!isRecord(source) || !has(source, ["type", "value", "mimeType", "provider"])) return false;
  const needs = isText(source.type) ? SOURCES[source.type] : undefined;
  return Boolean(needs?.every((name) => name in source) && Object.values(source).every(isText));
}

function userMessage({ seq, event_id, payload }) {
  const { id, text, content: parts } = payload;
  const isWhole = Array.isArray(parts) && parts.length > 0 && parts.every(isPart);
  const said = "text" in payload ? text : parts;
  const content = isWhole ? parts : isText(said) ? said : textOf(payload);
  return { id: isText(id) && id ? id : event_id || `m.${seq}`, role: "user", content };
}

const ownerOf = (event) => ("subagentRunId" in event ? { subagentRunId: event.subagentRunId } : {});

/** The messages so far, run by run in the order in which the runs began. */
class Messages {
  #sections = new Map();
  #byId = new Map();
  #texts = new Map();

  get size() {
    return this.#byId.size;
  }

  has(id) {
    return this.#byId.has(id);
  }

  begin(runId, messages) {
    if (!this.#sections.has(runId)) this.#sections.set(runId, []);
    for (const message of messages) if (!this.has(message.id)) this.#put(runId, message);
  }

  adopt(runId, message) {
    this.#put(runId, { ...message });
    this.#texts.set(message.id, message.content);
  }

  fold(runId, events) {
    for (const event of events) this.#rows[event.type]?.(runId, event);
  }

  snapshot(without = new Set()) {
    const sections = [...this.#sections].filter(([runId]) => !without.has(runId));
    return sections.flatMap(([, section]) => section.map((message) => this.#whole(message)));
  }

  #whole(message) {
    const text = this.#texts.get(message.id);
    return text === undefined ? { ...message } : { ...message, content: text };
  }

  #put(runId, message) {
    this.#sections.get(runId).push(message);
    this.#byId.set(message.id, message);
  }

  #open(runId, event, role) {
    if (!this.has(event.messageId)) {
      this.#put(runId, { id: event.messageId, role, content: "", ...ownerOf(event) });
      this.#texts.set(event.messageId, "");
    }
    this.#annotate(event);
  }

  #append({ messageId, delta, metadata }) {
    if (!this.#texts.has(messageId)) return; // a user may have given a message of theirs the id of a text
    this.#texts.set(messageId, this.#texts.get(messageId) + delta);
    this.#annotate({ messageId, metadata });
  }

  #annotate({ messageId, metadata }) {
    this.#byId.get(messageId).metadata = metadata;
  }

  #call(runId, event) {
    const { toolCallId: id, toolCallName: name, metadata } = event;
    const call = { id, type: "function", function: { name, arguments: "" }, metadata };
    if (!this.has(id)) this.#put(runId, { id, role: "assistant", toolCalls: [call], ...ownerOf(event) });
  }

  #argue({ toolCallId, delta }) {
    for (const call of this.#byId.get(toolCallId).toolCalls ?? []) call.function.arguments = delta;
  }

  /** A result stands right behind its call, and behind the results that are there. */
  #answer(runId, event) {
    const { messageId: id, toolCallId, content, metadata } = event;
    const section = this.#sections.get(runId);
    const call = section.findIndex((message) => message.id === toolCallId);
    let at = call < 0 ? section.length : call + 1;
    while (section[at]?.role === "tool") at += 1;
    const result = { id, toolCallId, role: "tool", content, ...ownerOf(event), metadata };
    section.splice(at, 0, result);
    this.#byId.set(id, result);
  }

  #rows = {
    __proto__: null,
    TEXT_MESSAGE_START: (runId, event) => this.#open(runId, event, "assistant"),
    TEXT_MESSAGE_CONTENT: (_, event) => this.#append(event),
    REASONING_MESSAGE_START: (runId, event) => this.#open(runId, event, "reasoning"),
    REASONING_MESSAGE_CONTENT: (_, event) => this.#append(event),
    TOOL_CALL_START: (runId, event) => this.#call(runId, event),
    TOOL_CALL_ARGS: (_, event) => this.#argue(event),
    TOOL_CALL_RESULT: (runId, event) => this.#answer(runId, event),
  };
}

/** What is known of a thread from its events, whoever is told of it. */
class Course {
  messages = new Messages();
  /** Messages of the user that came since the last run began. */ waiting = [];
  /** The active runs. */ runs = new Map();
  /** The open questions, oldest first. */ questions = new Map();
  /** The runs that have ended, each with its root. */ #over = new Map();
  /** The client's copy of the last text of each run, and the number of the last event in it. */ #copies = new Map();

  get isEmpty() {
    return this.messages.size === 0 && this.waiting.length === 0;
  }

  recall(messages) {
    for (const message of messages) {
      const { runId, seq } = originOf(message);
      if (seq > (this.#copies.get(runId)?.seq ?? 0)) this.#copies.set(runId, { seq, message });
    }
  }

  knows(id) {
    return this.messages.has(id) || this.waiting.some((message) => message.id === id);
  }

  hear(event) {
    const message = { ...userMessage(event), ...metadata(event) };
    if (!this.knows(message.id)) this.waiting.push(message);
  }

  start(event) {
    const { run_id: runId, payload } = event;
    if (this.runs.has(runId) || this.#over.has(runId)) return null;
    const { agent_name: name, parent_run_id: above } = payload;
    return this.#open(event, isText(name) ? name : "", (isText(above) && this.runs.get(above)) || null);
  }

  /** A run whose beginning is not retained begins with the first event that is. */
  runOf(event) {
    const { run_id: runId = null, type } = event;
    if (runId === null || this.#over.has(runId)) return null;
    if (this.runs.has(runId) || !OF_A_RUN.test(type)) return this.runs.get(runId) ?? null;
    const run = this.#open(event, "", null);
    if (type === "agent_delta") this.#continue(run, event);
    return run;
  }

  say(run, event) {
    if (event.seq <= run.knownSeq && event.type === "agent_delta") return [];
    return this.keep(run, event, ROWS[event.type]?.(run, event) ?? custom(run, event));
  }

  /** What ends a text is no part of it, and so has no mark of the event that it comes from. */
  keep(run, event, talk) {
    const mark = stamp(event);
    for (const one of talk) if (one.type !== "TEXT_MESSAGE_END") Object.assign(one, mark);
    this.messages.fold(run.root.runId, talk);
    return talk;
  }

  leave(run) {
    const children = [...this.runs.values()].filter((one) => one.parent === run);
    const left = children.flatMap((child) => this.leave(child));
    for (const { id, run_id } of [...this.questions.values()]) if (run_id === run.runId) this.questions.delete(id);
    this.runs.delete(run.runId);
    this.#over.set(run.runId, run.root.runId);
    return [...left, run];
  }

  family(root) {
    return [...this.runs.values()].filter((one) => one.root === root);
  }

  topOf(runId) {
    return this.runs.get(runId)?.root.runId ?? this.#over.get(runId) ?? null;
  }

  rootOf(question) {
    return this.runs.get(question.run_id)?.root ?? null;
  }

  questionsOf(root) {
    return [...this.questions.values()].filter((one) => this.rootOf(one) === root);
  }

  #continue(run, { seq, seq0 = seq }) {
    const { seq: known, message } = this.#copies.get(run.runId) ?? {};
    if (!message || seq0 > known + 1 || this.messages.has(message.id)) return;
    this.messages.adopt(run.runId, message);
    run.textId = message.id;
    run.knownSeq = known;
  }

  #open(event, name, parent) {
    const run = new CourseRun(event.run_id, name, parent, stamp(event));
    this.runs.set(run.runId, run);
    if (!parent) {
      run.given = this.waiting.filter(({ id }) => !this.messages.has(id));
      this.waiting = [];
      this.messages.begin(run.runId, run.given);
    }
    return run;
  }
}

/** The run that a text is of, and the number of the last event in it; 0 for any other message. */
function originOf({ id, role, content, metadata: about }) {
  const [, runId, first] = /^(.*)\.(\d+)$/s.exec(id) ?? [];
  const seq = about?.[METADATA]?.seq;
  return role === "assistant" && isText(content) && first && Number.isInteger(seq) ? { runId, seq } : { seq: 0 };
}

function interruptOf(question, run) {
  const { id, type, payload, run_id, expiresAt } = question;
  const message = [payload.question, payload.message, payload.text].find(isText);
  return {
    id,
    reason: type,
    ...(message !== undefined && { message }),
    ...(isRecord(payload.response_schema) && { responseSchema: payload.response_schema }),
    ...(expiresAt && { expiresAt }),
    ...run?.owner,
    metadata: { [METADATA]: { type, payload, ...(run_id != null && { run_id }) } },
  };
}

function suspended(run, asked) {
  const interruptIds = asked.filter((one) => one.run_id === run.runId).map(({ id }) => id);
  const outcome = { type: "suspended", ...(interruptIds.length > 0 && { interruptIds }) };
  return { type: "SUBAGENT_FINISHED", subagentRunId: run.runId, outcome };
}

export class Mapper {
  /** The number of the last event that was fed. */ seq = 0;
  /** The run of `runId` has been said to its end, or to a question. */ isOver = false;
  /** The only run that is said, if there is one. */ runId = null;
  #alias = null;
  #isSilent = true;
  /** The client was told of questions, and keeps them until a run is finished. */ #isAsked = false;
  /** The client's own messages, which the log does not have. */ #own = [];
  #course;
  /** The runs at the top that are active, or have ended and were not said. */ #roots;
  /** The client may have missed something, so that the next run begins with a snapshot. */ #stale;
  /** The runs at the top that have ended. */ #ended;
  /** The last of them that was said, or would have been; the run that is said. */ #last;
  #said;
  /** The subagents that the client knows as active. */ #told;
  /** The run that is interrupted by its questions; of a question without a run, its own id. */ #asked;

  constructor(threadId) {
    this.threadId = threadId;
    this.#begin();
  }

  #begin() {
    this.#course = new Course();
    this.#roots = new Map();
    this.#ended = new Map();
    this.#stale = true;
    this.#last = this.#said = null;
    this.#told = new Map();
    this.#asked = "";
  }

  get saying() {
    return this.#said?.runId ?? null;
  }

  get newest() {
    return (this.#said ?? this.#last)?.runId ?? null;
  }

  topOf(runId) {
    return this.#course.topOf(runId);
  }

  knows(messageId) {
    return this.#course.knows(messageId);
  }

  // --- what comes in ----------------------------------------------------------

  feed(event) {
    if (event.seq <= this.seq) return [];
    this.seq = event.seq;
    return this.#unlessSilent(this.#follow(event));
  }

  ask(question) {
    this.#course.questions.set(question.id, question);
    const root = this.#course.rootOf(question);
    const said = root && root.runId === this.#asked ? this.#beginSaying(root) : [];
    if (root && root === this.#said) said.push(...this.#interrupt(root));
    return this.#unlessSilent([...said, ...this.#turn()]);
  }

  askClosed(askId) {
    const question = this.#course.questions.get(askId);
    if (!this.#course.questions.delete(askId)) return [];
    const root = this.#course.rootOf(question);
    const isAlone = this.#asked === askId;
    this.#isAsked &&= !isAlone;
    if (isAlone || (root && root.runId === this.#asked)) this.#asked = "";
    const said = isAlone ? [this.#startOf(askId), this.#finishOf(askId)] : [];
    return this.#unlessSilent([...said, ...this.#turn()]);
  }

  lose(runId, reason) {
    const run = this.#course.runs.get(runId);
    if (!run) return [];
    const type = run.parent ? "SUBAGENT_ERROR" : "RUN_ERROR";
    const message = `the end of this run is not known: ${reason}`;
    return this.#unlessSilent(this.#conclude(run, { type, message, code: reason, ...run.owner }));
  }

  gap(from, to) {
    return this.#said && !this.#isSilent ? [{ type: "CUSTOM", name: "gap", value: { from, to } }] : [];
  }

  reset() {
    const [said, asked] = [this.#said, this.#asked];
    this.#begin();
    this.seq = 0;
    this.isOver ||= this.runId !== null && said !== null;
    const end = { type: "RUN_ERROR", message: "the log of this run is lost", code: "reset" };
    this.#isAsked &&= !asked;
    if (said) return this.#unlessSilent([...this.#withdraw(this.#nameOf(said)), end]);
    return this.#unlessSilent(asked ? [this.#startOf(asked), this.#cancelledOf(asked)] : []);
  }

  recall(known) {
    this.#course.recall(known);
  }

  mute() {
    this.#isSilent = true;
    this.isOver = false;
    this.runId = null;
  }

  prelude({ known = [], alias = null, of = null, isWhole = true, isAnswer = false } = {}) {
    this.#isSilent = this.isOver = false;
    this.#isAsked = isAnswer;
    this.#alias = alias;
    this.#stale = known.length > 0 || !isWhole || !this.#course.isEmpty;
    this.#own = known.filter(({ id, role }) => !this.knows(id) && (!isWhole || KEPT.test(role)));
    this.runId = of;
    const named = this.#course.runs.get(of) ?? this.#ended.get(of);
    this.#course.questions.clear();
    const root = of === null ? (this.#said ?? this.#next() ?? this.#last) : named;
    this.#said = null;
    this.#asked = "";
    if (root) return [...this.#beginSaying(root), ...(root.end ? this.#finish(root) : [])];
    if (of !== null || this.#course.isEmpty) return [];
    this.#stale = false;
    return [this.#startOf(this.threadId), this.#snapshot(), this.#finishOf(this.threadId)];
  }

  #unlessSilent(said) {
    return this.#isSilent ? [] : said;
  }

  // --- the course of the thread -------------------------------------------------

  #follow(event) {
    const { type, payload } = event;
    if (type === "user_message") this.#course.hear(event);
    if (type === "user_message") return [];
    if (type === "agent_started" && event.run_id != null) return this.#start(event);
    const run = this.#course.runOf(event);
    if (!run) return this.#said ? [{ type: "CUSTOM", name: type, value: payload, ...stamp(event) }] : [];
    if (!run.parent && !this.#roots.has(run.runId)) this.#roots.set(run.runId, run);
    if (LAST.test(type)) return this.#conclude(run, { ...ended(run, event, this.threadId), ...stamp(event) });
    return this.#passOn(run, this.#course.say(run, event));
  }

  #start(event) {
    const run = this.#course.start(event);
    if (!run) return [];
    if (!run.parent) {
      this.#roots.set(run.runId, run);
      return this.#turn();
    }
    const talk = [...run.parent.closeText(), ...this.#tellOf(run)];
    return this.#passOn(run, this.#course.keep(run, event, talk));
  }

  /** What is not said, because it is another run's turn, is in the prelude once that of this one comes. */
  #passOn(run, talk) {
    if (run.root === this.#said) return talk;
    run.root.isNew = false;
    return this.#turn();
  }

  #conclude(run, end) {
    const talk = [];
    for (const one of this.#course.leave(run)) {
      const isTold = this.#told.delete(one.runId);
      talk.push(...one.closeText());
      if (isTold && one !== run) talk.push({ type: "SUBAGENT_FINISHED", ...one.owner });
    }
    if (run.parent) return this.#passOn(run, [...talk, end]);
    run.end = end;
    this.#ended.set(run.runId, run);
    if (run === this.#said) return [...talk, ...this.#finish(run), ...this.#turn()];
    if (this.#asked === run.runId) this.#asked = "";
    if (this.runId !== null) this.#roots.delete(run.runId);
    return this.#turn();
  }

  // --- whose turn it is ---------------------------------------------------------

  #turn() {
    const said = [];
    for (let root; !this.#said && !this.isOver && (root = this.#next()); ) {
      said.push(...this.#beginSaying(root));
      if (root.end) said.push(...this.#finish(root));
      else if (this.#course.questionsOf(root).length > 0) said.push(...this.#interrupt(root));
    }
    return [...said, ...this.#askAlone()];
  }

  #next() {
    const mine = [...this.#roots.values()].filter((one) => this.runId === null || this.runId === one.runId);
    const isFree = (one) => one.end || this.#course.questionsOf(one).length === 0;
    return mine.find(isFree) ?? (this.#asked ? undefined : mine[0]);
  }

  #beginSaying(root) {
    this.#said = root;
    this.#asked = "";
    this.#told = new Map();
    const missesNothing = root.isNew && !this.#stale;
    root.wasSaid = true;
    root.isNew = this.#stale = false;
    if (missesNothing) return [{ ...this.#startOf(this.#nameOf(root), root.given), ...root.first }];
    const family = this.#course.family(root);
    const children = family.filter((one) => one !== root).flatMap((one) => this.#tellOf(one));
    const texts = family.filter((one) => one.textId !== null);
    const start = { type: "TEXT_MESSAGE_START", role: "assistant" };
    return [
      this.#startOf(this.#nameOf(root)),
      this.#snapshot(),
      ...children,
      ...texts.map((one) => ({ ...start, messageId: one.textId, ...one.owner })),
    ];
  }

  #finish(root) {
    this.#said = null;
    this.#last = root;
    this.#roots.delete(root.runId);
    this.isOver = this.runId !== null;
    const name = this.#nameOf(root);
    this.#alias = null;
    if (root.end.type === "RUN_ERROR") return [...this.#withdraw(name), root.end];
    this.#isAsked = false;
    return [{ ...root.end, runId: name }];
  }

  /** A client would keep its questions over an error, and let no other run begin. */
  #withdraw(runId) {
    const isAsked = this.#isAsked;
    this.#isAsked = false;
    return isAsked ? [this.#cancelledOf(runId), this.#startOf(runId)] : [];
  }

  #cancelledOf(runId) {
    return { ...this.#finishOf(runId), outcome: { type: "cancelled" } };
  }

  /** The run goes on meanwhile, and so do the texts that are only paused here. */
  #interrupt(root) {
    const asked = this.#course.questionsOf(root);
    const told = [...this.#told.values()].reverse();
    const texts = this.#course.family(root).filter((one) => one.textId !== null);
    this.#told = new Map();
    this.#said = null;
    this.#asked = root.runId;
    this.#isAsked = true;
    this.isOver = this.runId !== null;
    const end = this.#finishOf(this.#nameOf(root), asked);
    this.#alias = null;
    return [
      ...texts.map((one) => ({ type: "TEXT_MESSAGE_END", messageId: one.textId, ...one.owner })),
      ...told.map((one) => suspended(one, asked)),
      end,
    ];
  }

  /** A question of no run is said, where nothing else is, as a run that has no more than that. */
  #askAlone() {
    const alone = [...this.#course.questions.values()].find((one) => one.run_id == null);
    if (this.#said || this.#asked || this.runId !== null || !alone) return [];
    this.#asked = alone.id;
    this.#isAsked = true;
    const missed = this.#stale ? [this.#snapshot()] : [];
    this.#stale = false;
    return [this.#startOf(alone.id), ...missed, this.#finishOf(alone.id, [alone])];
  }

  // --- the pieces -----------------------------------------------------------------

  #nameOf(root) {
    return this.#alias ?? root.runId;
  }

  #startOf(runId, given = []) {
    const about = { threadId: this.threadId, runId };
    const rest = { tools: [], context: [], state: {}, forwardedProps: {} };
    const input = given.length > 0 ? { input: { ...about, messages: given, ...rest } } : {};
    return { type: "RUN_STARTED", ...about, protocolVersion: "1.0", ...input };
  }

  #finishOf(runId, asked = []) {
    const interrupts = asked.map((one) => interruptOf(one, this.#course.runs.get(one.run_id)));
    const outcome = asked.length > 0 ? { type: "interrupt", interrupts } : { type: "success" };
    return { type: "RUN_FINISHED", threadId: this.threadId, runId, outcome };
  }

  #snapshot() {
    const roots = [...this.#roots.values()];
    const later = new Set(roots.filter((one) => this.runId === null && !one.wasSaid).map((one) => one.runId));
    const idle = this.#course.runs.size > 0 || later.size > 0 ? [] : this.#course.waiting;
    return { type: "MESSAGES_SNAPSHOT", messages: [...this.#own, ...this.#course.messages.snapshot(later), ...idle] };
  }

  #tellOf(run) {
    const above = run.parent.runId;
    const inside = this.#told.has(above) ? { parentSubagentRunId: above } : {};
    if (run.root === this.#said) this.#told.set(run.runId, run);
    return [{ type: "SUBAGENT_STARTED", subagentRunId: run.runId, name: run.name, ...inside }];
  }
}
