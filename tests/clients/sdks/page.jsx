// The page around the component of docs/ai-sdk.md: the session's id stands behind the #.

import { createRoot } from "react-dom/client";

import { Chat } from "./chat.jsx";

const id = location.hash.slice(1);
const headers = { Authorization: `Bearer ${token}` };
const answer = await fetch(`${operator}/ai/chat/${id}/messages`, { headers });
const initial = answer.status === 404 ? [] : await answer.json();
createRoot(document.querySelector("main")).render(<Chat id={id} initial={initial} />);
