/** The API beside this page: requests with the operator's key, and answers, or what is wrong in their place. */

const ROOT = new URL("../v1/", import.meta.url);
const KEPT_AS = "trio-actors.key";

/** An answer that is a refusal, or none at all: then it has no `status`. */
export class Refused extends Error {
  /** @param {string} message @param {number} [status] @param {string} [name]  the row of the table of refusals */
  constructor(message, status, name = "") {
    super(message);
    this.status = status;
    this.name = name;
  }
}

/** True for what another request is refused as well: no answer, no key, or a server in trouble. */
export const concernsAll = ({ status }) => status === undefined || [401, 403, 429].includes(status) || status >= 500;

/** The key is kept as long as the tab is, and no longer. */
export const key = {
  get: () => sessionStorage.getItem(KEPT_AS) ?? "",
  set: (text) => sessionStorage.setItem(KEPT_AS, text),
  forget: () => sessionStorage.removeItem(KEPT_AS),
};

/** Ask for something. Throws Refused. */
export const get = (path, query = {}) => request("GET", withQuery(path, query));

/** Do something. Throws Refused. */
export const post = (path, body) => request("POST", path, body);

/** Return a path of the API, with its ids quoted: they may have a slash in them. */
export const path = (strings, ...ids) => String.raw({ raw: strings }, ...ids.map((id) => encodeURIComponent(id)));

function withQuery(name, query) {
  const given = Object.entries(query).filter(([, value]) => value !== null && value !== "");
  return given.length === 0 ? name : `${name}?${new URLSearchParams(given)}`;
}

const PATIENCE_MS = 8_000;

async function request(method, name, body) {
  const headers = body === undefined ? {} : { "content-type": "application/json" };
  if (key.get()) headers.authorization = `Bearer ${key.get()}`;
  const options = { method, headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) };
  try {
    const response = await fetch(new URL(name, ROOT), { ...options, body: body && JSON.stringify(body) });
    const value = await response.json();
    if (response.ok) return value;
    throw new Refused(value.error?.message ?? response.statusText, response.status, value.error?.name);
  } catch (error) {
    if (error instanceof Refused) throw error;
    throw new Refused(error.name === "TimeoutError" ? "no answer in time" : "no answer");
  }
}
