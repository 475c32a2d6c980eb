// Calls by a client that was generated from /openapi.json: a chat, its history, an error.
import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./api.d.ts";

type Schemas = components["schemas"];

// @ts-expect-error: a message is text
export const wrongType: Schemas["ChatBody"] = { message: 5 };
// @ts-expect-error: there is no such field
export const unknownField: Schemas["ChatBody"] = { message: "hi", nonsense: true };
// @ts-expect-error: there is no such status
export const unknownStatus: Schemas["MessageStatus"] = "lost";
export const task: Schemas["BrowserTaskBody"] = { url: "http://example.org/", wait: 0 };
export const record: Schemas["ToolCallBody"] = { message_id: 1, tool_name: "t", result: { a: [1] } };

const { OPERATOR_URL = "", OPERATOR_TOKEN = "" } = process.env;
const client = createClient<paths>({
  baseUrl: OPERATOR_URL,
  headers: { "X-VX11-Token": OPERATOR_TOKEN },
});

const answer = await client.POST("/operator/chat", {
  body: { message: "hi", metadata: { any: { value: 1 } } },
});
assert(answer.data && "response" in answer.data);
assert.equal(answer.data.response, "[stand-in] You said: hi");

const { session_id } = answer.data;
const history = await client.GET("/operator/session/{session_id}", { params: { path: { session_id } } });
assert.deepEqual(
  history.data?.messages.map((message) => [message.role, message.status, message.content]),
  [["user", "complete", "hi"], ["assistant", "complete", answer.data.response]],
);

const missing = await client.GET("/operator/reply/{reply_id}", { params: { path: { reply_id: 999 } } });
assert.equal(missing.data, undefined);
assert.equal(missing.error?.error satisfies Schemas["ErrorCode"] | undefined, "reply_not_found");
assert.equal(missing.error?.status, 404);
