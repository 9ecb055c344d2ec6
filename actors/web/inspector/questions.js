/** The questions of *why?*, and their answers. */

import { byId } from "../dom.js";
import { concernsAll, get, path } from "./api.js";
import { fateOf, reasonOf } from "./reasons.js";
import { nothingView, reasonView } from "./views.js";

const aboutUser = async ({ id }) => reasonOf(await get(path`users/${id}/why`));
const aboutThread = async ({ id }) => reasonOf(await get(path`threads/${id}/why`));
const aboutEvent = async ({ id, thread }) => fateOf(await get(path`events/${id}/why`, { thread_id: thread }));

const ABOUT = { event: [aboutEvent], user: [aboutUser], thread: [aboutThread] };

/** The one question that is open. */
export class Questions {
  #announce;
  #onFailure;
  #number = 0;

  /**
   * @param {(text: string) => void} announce
   * @param {(refusal: import("./api.js").Refused) => void} onFailure  of the server, not of the question
   */
  constructor(announce, onFailure) {
    this.#announce = announce;
    this.#onFailure = onFailure;
  }

  /**
   * Ask, and show the answer unless something else was asked meanwhile.
   * @param {import("./place.js").Subject} subject
   * @param {number} now  the time, in seconds since 1970
   */
  async ask(subject, now) {
    const number = (this.#number += 1);
    byId("subject").value = subject.id;
    byId("answers").setAttribute("aria-busy", "true");
    try {
      const asked = ABOUT[subject.kind] ?? Object.values(ABOUT).flat();
      const found = await Promise.all(asked.map((about) => about(subject)));
      if (number === this.#number) this.#show(subject, found, now);
    } catch (refusal) {
      if (concernsAll(refusal)) this.#onFailure(refusal);
      if (number === this.#number) this.#showNothing(`This could not be asked: ${refusal.message}.`);
    }
  }

  close() {
    this.#number += 1;
    byId("answers").replaceChildren();
  }

  /** Of something that may be anything, what is known of it is shown, and nothing of the rest. */
  #show({ kind, id }, found, now) {
    const known = found.filter((reason) => reason.known);
    if (known.length === 0 && kind === "any") return this.#showNothing(`No event, user or thread is known as ${id}.`);
    const shown = known.length > 0 ? known : found;
    this.#replace(...shown.map((reason) => reasonView(reason, now)));
    this.#announce(shown.map(({ title, sentence }) => `${title}: ${sentence}`).join(" "));
  }

  #showNothing(text) {
    this.#replace(nothingView(text));
    this.#announce(text);
  }

  #replace(...nodes) {
    byId("answers").replaceChildren(...nodes);
    byId("answers").removeAttribute("aria-busy");
  }
}
