/** To whom, until when, how often: the same questions for a share, a request and a later change. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";

import { day, nowSeconds } from "../amounts.js";
import { counted, t } from "../language.js";
import { checkAddress } from "../service/checks.js";
import { Chips, Field, Segments } from "./basics.js";

export interface Whom {
  readonly people: readonly string[];
  readonly groups: readonly string[];
}

export const NOBODY: Whom = { people: [], groups: [] };

interface AddresseesProps {
  readonly whom: Whom;
  readonly onChange: (whom: Whom) => void;
  readonly error: string | null;
  readonly hint: string;
}

export function Addressees({ whom, onChange, error, hint }: AddresseesProps): JSX.Element {
  const [kind, setKind] = useState<"people" | "group">("people");
  return (
    <div class="addressees">
      {kind === "people" ? (
        <Chips
          label={t("address.people")}
          values={whom.people}
          onChange={(people) => onChange({ people, groups: [] })}
          placeholder={t("address.people.placeholder")}
          hint={hint}
          error={error}
          check={checkAddress}
        />
      ) : (
        <Field label={t("address.group")} value={whom.groups[0] ?? ""} onInput={(group) => onChange({ people: [], groups: group.trim() === "" ? [] : [group.trim()] })} hint={t("address.group.hint")} error={error} />
      )}
      <button
        type="button"
        class="link-button"
        onClick={() => {
          setKind(kind === "people" ? "group" : "people");
          onChange(NOBODY);
        }}
      >
        {kind === "people" ? t("address.to-group") : t("address.to-people")}
      </button>
    </div>
  );
}

interface CardsProps {
  readonly cards: string;
  readonly onChange: (cards: string) => void;
  readonly error: string | null;
}

/** Where the cards of recipients who need a passkey are pasted. */
export const CardsField = ({ cards, onChange, error }: CardsProps): JSX.Element => (
  <Field label={t("send.passkey.card")} hint={t("send.passkey.card.hint")} value={cards} onInput={onChange} rows={3} mono error={error} />
);

const DAYS = [1, 7, 14, 30, 90] as const;

interface ExpiryProps {
  readonly days: number;
  readonly max: number;
  readonly onChange: (days: number) => void;
  readonly hint?: "expiry.hint" | "request.expiry.hint";
}

export function ExpiryChoice({ days, max, onChange, hint = "expiry.hint" }: ExpiryProps): JSX.Element {
  const offered: number[] = DAYS.filter((each) => each <= max);
  const choices = (offered.includes(days) ? offered : [...offered, days].sort((a, b) => a - b)).map((value) => ({ value, words: counted("expiry.days", value) }));
  return <Segments label={t("expiry.label")} choices={choices} value={days} onChange={onChange} hint={t(hint, { day: day(nowSeconds() + days * 86_400) })} />;
}

const OPENS = [0, 1, 3, 10] as const;

export function OpensChoice({ value, onChange }: { readonly value: number | null; readonly onChange: (value: number | null) => void }): JSX.Element {
  const choices = OPENS.map((count) => ({ value: count as number, words: count === 0 ? t("opens.any") : counted("opens.limit", count) }));
  return <Segments label={t("opens.label")} choices={choices} value={value ?? 0} onChange={(count) => onChange(count === 0 ? null : count)} hint={t("opens.hint")} />;
}
