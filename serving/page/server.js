// The server as this page reaches it: its token, requests, and the socket of live captions.

let token = sessionStorage.getItem("token") || "";

export function useToken(given) {
  token = given;
  sessionStorage.setItem("token", token);
}

// The token's UTF-8, one character a byte: headers and btoa take no other characters.
const tokenBytes = () => String.fromCharCode(...new TextEncoder().encode(token));

export async function request(path, options = {}) {
  const headers = token ? { Authorization: `Bearer ${tokenBytes()}` } : {};
  const answer = await fetch(path, { ...options, headers }).catch(() => {
    throw new Error("the server cannot be reached");
  });
  if (answer.ok) return answer;
  let message = `the server answered ${answer.status}`;
  try {
    message = (await answer.json()).error.message;
  } catch { /* the body is no JSON: the message names the status alone */ }
  throw Object.assign(new Error(message), { status: answer.status });
}

// The events of a response, which end with its last byte; throws where the connection is lost before.
export async function* eventsOf(answer) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let unfinished = "";
  for (;;) {
    const { value, done } = await reader.read().catch(() => {
      throw new Error("the connection to the server was lost");
    });
    if (done) return;
    unfinished += value;
    const blocks = unfinished.split("\n\n");
    unfinished = blocks.pop();
    for (const block of blocks) {
      if (block.startsWith("data: ")) yield JSON.parse(block.slice(6));
    }
  }
}

// A subprotocol may not hold "/", "=" and most other characters (RFC 6455, section 4.1): the token is in base64url.
export function openSocket(rate, model) {
  const address = new URL("/v1/listen", location.href);
  address.protocol = address.protocol.replace("http", "ws");
  address.searchParams.set("sample_rate", rate);
  address.searchParams.set("model", model);
  const encoded = btoa(tokenBytes()).replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");
  return new WebSocket(address, token ? ["wav2edge", `wav2edge-token.${encoded}`] : ["wav2edge"]);
}
