// Posts an announcement and reads the deal's state, typed by the OpenAPI document:
//
//     openapi-typescript http://127.0.0.1:8000/openapi.json -o registry.ts
//     tsc --strict --target es2022 --module nodenext program.ts
//     REGISTRY_URL=http://127.0.0.1:8000 REGISTRY_KEY=… node program.js
import type { components, paths } from "./registry.js";

type Announcement = components["schemas"]["Announcement"];
type State = components["schemas"]["DealResponse"];
type Recorded = paths["/v1/deals/{deal}/events"]["post"]["responses"][201]["content"]["application/json"];
type Problem = components["schemas"]["ProblemDocument"];

declare const process: { env: Record<string, string | undefined> };

const service = process.env.REGISTRY_URL ?? "http://127.0.0.1:8000";

async function send<Answer>(path: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(service + path, init);
  if (!response.ok) throw new Error(((await response.json()) as Problem).detail);
  return (await response.json()) as Answer;
}

const announcements: Announcement[] = [
  { event: { type: "deal_registered", title: { en: "A data centre" } } },
  {
    effective_on: "2025-10-29",
    sources: [{ publisher: "The Korea Herald", published_on: "2025-10-29" }],
    event: { type: "pledge_announced", pledge: "phase-1", amount: { value: "5000000000", currency: "USD" } },
  },
];

const recorded = await send<Recorded>("/v1/deals/typed-in-typescript/events", {
  method: "POST",
  headers: {
    "Content-Type": "application/json",
    "Idempotency-Key": "typed-in-typescript",
    Authorization: `Bearer ${process.env.REGISTRY_KEY}`,
  },
  body: JSON.stringify(announcements),
});

const state = await send<State>(`/v1/deals/typed-in-typescript?position=${recorded.position}`);
const amount = state.pledges[0]?.amount;
console.log(state.title?.en, amount?.currency, amount?.value);
