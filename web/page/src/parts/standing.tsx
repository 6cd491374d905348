/** What the page says while there is no verified connection, and when there must not be one. */

import type { JSX } from "preact";

import { useCell } from "../cell.js";
import { Stop } from "../icons.js";
import { t } from "../language.js";
import { acceptSite, connect, connection } from "../service/connection.js";
import { Button, More, Notice, Skeleton } from "./basics.js";
import { Digest } from "./proof.js";

/** Null when all is well. */
export function Standing(): JSX.Element | null {
  const now = useCell(connection);
  switch (now.state) {
    case "verified":
      return null;
    case "checking":
      return (
        <div class="sheet">
          <p class="checking">
            <span class="spinner" aria-hidden="true" />
            {t("standing.checking")}
          </p>
          <Skeleton lines={3} />
        </div>
      );
    case "unreachable":
      return (
        <Notice
          tone="offline"
          title={now.problem.title}
          actions={
            <Button look="primary" onClick={() => void connect()}>
              {t("retry")}
            </Button>
          }
        >
          <p>{now.problem.text}</p>
        </Notice>
      );
    case "refused":
      return (
        <section class="halt" role="alert">
          <span class="halt-icon">
            <Stop />
          </span>
          <h2>{t("halt.title")}</h2>
          <p>{t("halt.text")}</p>
          <p class="halt-reason">{now.problem.detail === "" ? now.problem.text : now.problem.detail}</p>
          <More label={t("halt.what")}>
            <p>{t("halt.advice")}</p>
          </More>
        </section>
      );
    case "changed":
      return (
        <section class="halt" role="alert">
          <span class="halt-icon">
            <Stop />
          </span>
          <h2>{t("changed.title")}</h2>
          <p>{t("changed.text")}</p>
          <dl class="digests">
            <Digest label={t("changed.before")} hex={now.before} />
            <Digest label={t("changed.now")} hex={now.now} />
          </dl>
          <Button look="danger" onClick={() => void acceptSite()}>
            {t("changed.accept")}
          </Button>
        </section>
      );
  }
}

