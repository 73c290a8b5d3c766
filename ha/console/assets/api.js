// Calls of the API, and the end of a session.

export class Problem extends Error {
  constructor(status, detail, retryAfter) {
    super(detail);
    this.status = status;
    this.retryAfter = retryAfter;
  }
}

// onSignedOut is called when the server knows no session any more.
let onSignedOut = () => {};
export const whenSignedOut = (then) => { onSignedOut = then; };

// A call that the page makes by itself does not keep a session alive.
export const get = (path) => call("GET", path);
export const poll = (path) => call("GET", path, undefined, { "Understudy-Background": "1" });
export const send = (method, path, body) => call(method, path, body);

async function call(method, path, body, headers = {}) {
  if (body !== undefined) headers["Content-Type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), credentials: "same-origin" });
  } catch {
    throw new Problem(0, "The agent does not answer: is it running, and can it be reached?");
  }
  const text = await response.text();
  const answer = text && /json/.test(response.headers.get("Content-Type") ?? "") ? JSON.parse(text) : null;
  if (response.ok) return answer;
  const details = (answer?.errors ?? []).map((e) => `${(e.location ?? "").replace(/^body\./, "")}: ${e.message}`).join("; ");
  const problem = new Problem(response.status, sentence(details || answer?.detail || response.statusText), response.headers.get("Retry-After"));
  if (response.status === 401 && path !== "api/v1/sessions") onSignedOut(problem);
  throw problem;
}

function sentence(text) {
  text = text.replace(/^invalid: /, "");
  return text.charAt(0).toUpperCase() + text.slice(1);
}

// stream follows server-sent events until the function that it returns is
// called. The browser connects again by itself.
export function stream(path, handlers) {
  const source = new EventSource(path);
  for (const [name, handle] of Object.entries(handlers)) {
    if (name !== "error") source.addEventListener(name, (e) => handle(JSON.parse(e.data)));
  }
  source.addEventListener("error", () => handlers.error?.(source.readyState === EventSource.CLOSED));
  return () => source.close();
}
