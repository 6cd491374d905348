import { expect, test, vi } from "vitest";

import type { CodeState, PasswordState } from "@strongroom/sdk";

import { Declined } from "../src/service/problem.js";
import type { Form } from "../src/service/types.js";
import { Typing } from "../src/service/typing.js";

vi.hoisted(() => {
  vi.stubGlobal("localStorage", { getItem: () => null });
  vi.stubGlobal("navigator", { language: "en" });
});

const digest = new Uint8Array(32);
const first: CodeState = { method: { kind: "email-code", digest, sender: "codes@example.com" }, email: null, expiresAt: 0, triesLeft: 0, problem: null };
const login: PasswordState = { directory: { kind: "directory", digest, name: "ad.example.com" }, authenticator: "https://auth.example.com:8443", problem: null };

function open(): { readonly typing: Typing; readonly shown: (Form | null)[] } {
  const shown: (Form | null)[] = [];
  return { typing: new Typing((form) => shown.push(form)), shown };
}

test("a form is gone as soon as it is answered, and the next is another one", async () => {
  const { typing, shown } = open();
  const asked = typing.codes.ask(first);
  const form = shown[0];
  if (form?.kind !== "code") throw new Error("no form");
  form.send("bob@example.com");
  expect(await asked).toEqual({ email: "bob@example.com" });
  expect(shown[1]).toBe(null);
  void typing.codes.ask({ ...first, email: "bob@example.com", triesLeft: 5 });
  expect(shown[2]?.turn).not.toBe(form.turn);
});

test("a password is asked for with the name of the directory and of where it goes", () => {
  const { typing, shown } = open();
  void typing.passwords.ask(login);
  expect(shown[0]).toMatchObject({ kind: "password", directory: "ad.example.com", authenticator: "auth.example.com:8443" });
});

test("who gives up has typed nothing, and nobody waits for a form that another has taken the place of", async () => {
  const { typing } = open();
  const before = typing.passwords.ask(login);
  const now = typing.codes.ask(first);
  await expect(before).rejects.toThrow(Declined);
  typing.cancel();
  await expect(now).rejects.toThrow(Declined);
});
