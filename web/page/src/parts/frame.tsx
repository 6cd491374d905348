/** The frame around the views: mark, places, badge, account; at the foot language and appearance. */

import type { JSX } from "preact";

import { appearance, APPEARANCES, chooseAppearance } from "../appearance.js";
import { useCell } from "../cell.js";
import { Inbox, List, Mark, Moon, Send, Sun } from "../icons.js";
import { chooseLanguage, language, LANGUAGES, t, type Language } from "../language.js";
import { route } from "../routes.js";
import { connection } from "../service/connection.js";
import { people, signOut } from "../service/people.js";
import { Badge } from "./proof.js";

const PLACES = [
  { view: "send", href: "#/", icon: Send, key: "nav.send" },
  { view: "request", href: "#/request", icon: Inbox, key: "nav.request" },
  { view: "shares", href: "#/shares", icon: List, key: "nav.shares" },
] as const;

/** Who came by a link has one thing to do: no navigation beside it. */
const isGuest = (view: string): boolean => view === "receive" || view === "answer";

export function Header(): JSX.Element {
  const here = useCell(route);
  const linked = useCell(connection);
  const who = useCell(people);
  return (
    <header class="top">
      <a class="brand" href="#/">
        <Mark />
        <span class="brand-name">{linked.state === "verified" ? linked.offer.name : "Strongroom"}</span>
      </a>
      {!isGuest(here.view) && (
        <nav class="places" aria-label={t("nav.label")}>
          {PLACES.map(({ view, href, icon: Icon, key }) => (
            <a key={view} href={href} aria-current={here.view === view || (view === "shares" && here.view === "share") ? "page" : undefined}>
              <Icon />
              <span>{t(key)}</span>
            </a>
          ))}
        </nav>
      )}
      <div class="top-end">
        {who[0] !== undefined && (
          <details
            class="account"
            onKeyDown={(event) => event.key === "Escape" && close(event.currentTarget)}
            onFocusOut={(event) => event.relatedTarget instanceof Node && !event.currentTarget.contains(event.relatedTarget) && close(event.currentTarget)}
          >
            <summary aria-label={t("account.label", { name: who[0].name })}>
              <span class="initial" aria-hidden="true">
                {who[0].name.slice(0, 1).toUpperCase()}
              </span>
            </summary>
            <div class="account-menu">
              {who.map((person) => (
                <p key={`${person.name} ${person.provider}`}>
                  <strong>{person.name}</strong>
                  <span class="hint">{person.provider}</span>
                </p>
              ))}
              <button type="button" class="link-button" onClick={signOut}>
                {t("account.sign-out")}
              </button>
            </div>
          </details>
        )}
        <Badge />
      </div>
    </header>
  );
}

function close(menu: HTMLDetailsElement): void {
  menu.open = false;
}

export function Footer(): JSX.Element {
  const spoken = useCell(language);
  const look = useCell(appearance);
  const linked = useCell(connection);
  const next = APPEARANCES[(APPEARANCES.indexOf(look) + 1) % APPEARANCES.length] ?? "system";
  return (
    <footer class="foot">
      <nav aria-label={t("foot.label")}>
        <a href="#/verify">{t("foot.verify")}</a>
        <a href="#/passkey">{t("foot.passkey")}</a>
        {linked.state === "verified" && linked.offer.contact !== "" && <a href={linked.offer.contact}>{t("foot.contact")}</a>}
      </nav>
      <div class="foot-end">
        <label class="language">
          <span class="visually-hidden">{t("foot.language")}</span>
          <select value={spoken} onChange={(event) => chooseLanguage(event.currentTarget.value as Language)}>
            {Object.entries(LANGUAGES).map(([code, name]) => (
              <option key={code} value={code} lang={code}>
                {name}
              </option>
            ))}
          </select>
        </label>
        <button type="button" class="link-button soft" onClick={() => chooseAppearance(next)}>
          {look === "dark" ? <Moon /> : <Sun />}
          {t(`appearance.${look}`)}
        </button>
      </div>
    </footer>
  );
}
