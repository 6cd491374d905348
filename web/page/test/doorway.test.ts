import { expect, test, vi } from "vitest";

import { doorway, people, question } from "../src/service/people.js";

vi.hoisted(() => {
  vi.stubGlobal("localStorage", { getItem: () => null });
  vi.stubGlobal("navigator", { language: "en" });
});

test("a sign-in that no click asked for names where it leads, not where somebody signed in before", async () => {
  people.value = [{ name: "bob@example.com", provider: "Google" }];
  const attempt = doorway.authorize("https://login.microsoftonline.com/common/oauth2/v2.0/authorize?state=s", "s", "https://share.example.com/callback");
  expect(question.value?.ways).toEqual([{ kind: "provider", name: "Microsoft" }]);
  question.value?.cancel();
  await expect(attempt).rejects.toThrow();
});
