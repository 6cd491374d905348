/** What the page says while there is no verified connection, and when there must not be one. */

import type { ComponentChildren, JSX } from "preact";
import { useEffect, useRef } from "preact/hooks";

import { useCell } from "../cell.js";
import { Stop } from "../icons.js";
import { t } from "../language.js";
import { acceptSite, connect, connection } from "../service/connection.js";
import type { Alarm, Problem } from "../service/types.js";
import { Button, More, Notice, SaveLink, Skeleton } from "./basics.js";
import { Digest } from "./proof.js";

interface StandingProps {
  /** The heading of a view that describes what is at the other end. Left out when the other end did not prove it. */
  readonly heading?: ComponentChildren;
}

/** Null when all is well. */
export function Standing({ heading }: StandingProps): JSX.Element | null {
  const now = useCell(connection);
  const Title = heading === undefined ? "h2" : "h1";
  switch (now.state) {
    case "verified":
      return null;
    case "checking":
      return (
        <>
          {heading}
          <div class="sheet">
            <p class="checking">
              <span class="spinner" aria-hidden="true" />
              {t("standing.checking")}
            </p>
            <Skeleton lines={3} />
          </div>
        </>
      );
    case "unreachable":
      return (
        <>
          {heading}
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
        </>
      );
    case "refused":
      if (now.problem.alarm !== null) return <AlarmNotice problem={now.problem} alarm={now.problem.alarm} Title={Title} />;
      return (
        <section class="halt" role="alert">
          <span class="halt-icon">
            <Stop />
          </span>
          <Title tabIndex={-1}>{t("halt.title")}</Title>
          <p>{t("halt.text")}</p>
          <p class="halt-reason">{now.problem.detail === "" ? now.problem.text : now.problem.detail}</p>
          <More label={t("halt.what")} open>
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
          <Title tabIndex={-1}>{t("changed.title")}</Title>
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

interface AlarmNoticeProps {
  readonly problem: Problem;
  readonly alarm: Alarm;
  readonly Title: "h1" | "h2";
}

/** The other end is what it must be, and its host was caught at showing it, or us, something old. */
function AlarmNotice({ problem, alarm, Title }: AlarmNoticeProps): JSX.Element {
  const section = useRef<HTMLElement>(null);
  // it may come up while the reader is far below
  useEffect(() => section.current?.querySelector<HTMLElement>("h1, h2")?.focus(), []);
  return (
    <section class="halt" role="alert" ref={section}>
      <span class="halt-icon">
        <Stop />
      </span>
      <Title tabIndex={-1}>{problem.title}</Title>
      <p>{problem.text}</p>
      <More label={t("alarm.advice")} open>
        <ul class="halt-advice">
          <li>{t("alarm.advice.1")}</li>
          {alarm.evidence !== null && <li>{t("alarm.advice.2")}</li>}
          <li>{t("alarm.advice.3")}</li>
          <li>{t("alarm.advice.4")}</li>
        </ul>
      </More>
      {alarm.evidence !== null && <SaveLink file={alarm.evidence} label={t("alarm.save")} />}
      <More label={t("problem.detail")}>
        <p class="halt-reason">{problem.detail}</p>
      </More>
    </section>
  );
}
