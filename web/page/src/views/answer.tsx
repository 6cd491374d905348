/** Answering a request for files: who asks, what for, and an upload that only they can open. */

import type { JSX } from "preact";
import { useMemo, useState } from "preact/hooks";

import { day, size } from "../amounts.js";
import { useCell } from "../cell.js";
import { Clock, Person, Send, Shield, Inbox } from "../icons.js";
import { language, t } from "../language.js";
import { Button, Heading, Notice, ProblemNotice } from "../parts/basics.js";
import { Name } from "../parts/names.js";
import { Picker, totalOf } from "../parts/picker.js";
import { ProofCard } from "../parts/proof.js";
import { Standing } from "../parts/standing.js";
import { checkFiles } from "../service/checks.js";
import { connection } from "../service/connection.js";
import { people, signOut } from "../service/people.js";
import { problemOf } from "../service/problem.js";
import { asked } from "../service/requests.js";
import type { Asked, Picked, Problem, Progress, Transfer } from "../service/types.js";
import { AbuseLink } from "./receive.js";
import { Sending } from "./send.js";

type Stage =
  | { readonly name: "closed"; readonly problem: Problem | null }
  | { readonly name: "opening" }
  | { readonly name: "open"; readonly request: Asked; readonly problem: Problem | null }
  | { readonly name: "sending"; readonly request: Asked; readonly transfer: Transfer<void>; readonly progress: Progress }
  | { readonly name: "sent"; readonly request: Asked };

export function AnswerView({ id }: { readonly id: string }): JSX.Element {
  const linked = useCell(connection);
  const who = useCell(people);
  const [stage, setStage] = useState<Stage>({ name: "closed", problem: null });
  const [picked, setPicked] = useState<readonly Picked[]>([]);
  const [tried, setTried] = useState(false);

  const start = (): void => {
    setStage({ name: "opening" });
    asked(id).then(
      (request) => setStage({ name: "open", request, problem: null }),
      (error: unknown) => setStage({ name: "closed", problem: problemOf(error) }),
    );
  };

  const spoken = useCell(language);
  const fault = useMemo(() => checkFiles(picked.map(({ path }) => path)), [picked, spoken]);
  const upload = (request: Asked): void => {
    setTried(true);
    if (fault !== null || totalOf(picked) > request.maxBytes) return;
    const transfer = request.answer(picked, (progress) => setStage((now) => (now.name === "sending" ? { ...now, progress } : now)));
    setStage({ name: "sending", request, transfer, progress: { stage: "preparing", done: 0, total: totalOf(picked) } });
    transfer.result.then(
      () => setStage({ name: "sent", request }),
      (error: unknown) => setStage({ name: "open", request, problem: problemOf(error) }),
    );
  };

  if (linked.state !== "verified")
    return (
      <div class="view view-narrow">
        <Standing heading={<Heading lead={t("answer.lead")}>{t("answer.title")}</Heading>} />
      </div>
    );

  switch (stage.name) {
    case "sent":
      return (
        <div class="view view-narrow">
          <Heading>{t("answer.sent.title")}</Heading>
          <Notice tone="success" title={t("answer.sent.lead", { name: stage.request.from })}>
            <p>{t("answer.sent.text")}</p>
          </Notice>
        </div>
      );
    case "sending":
      return <Sending title={stage.request.title} count={picked.length} progress={stage.progress} transfer={stage.transfer} />;
    case "open":
      return (
        <div class="view view-medium">
          <article class="sheet parcel" aria-label={stage.request.title}>
            <header class="parcel-head">
              <p class="from">
                <span class="from-icon">
                  <Shield />
                </span>
                <span>
                  <strong>
                    <Name of={stage.request.from} />
                  </strong> {t("answer.asks")}
                  <span class="hint">{t("answer.from.hint")}</span>
                </span>
              </p>
              <h1 tabIndex={-1}>{stage.request.title}</h1>
              {stage.request.message !== "" && <p class="message">{stage.request.message}</p>}
              <ul class="marks">
                {stage.request.expiresAt !== null && (
                  <li>
                    <Clock />
                    {t("answer.until", { day: day(stage.request.expiresAt) })}
                  </li>
                )}
                <li>
                  <Inbox />
                  {t("answer.max", { size: size(stage.request.maxBytes) })}
                </li>
              </ul>
            </header>
            {stage.problem !== null && <ProblemNotice problem={stage.problem} />}
            <Picker picked={picked} onChange={setPicked} maxBytes={stage.request.maxBytes} error={tried || picked.length > 0 ? fault : null} />
            <div class="actions">
              <Button look="primary" icon={<Send />} label={t("answer.button", { name: stage.request.from })} onClick={() => upload(stage.request)}>
                {t("send.button")}
              </Button>
            </div>
          </article>
          <ProofCard proof={linked.proof} />
        </div>
      );
    default:
      return (
        <div class="view view-narrow">
          <Heading lead={t("answer.lead")}>{t("answer.title")}</Heading>
          {stage.name === "closed" && stage.problem !== null && (
            <ProblemNotice
              problem={stage.problem}
              actions={
                stage.problem.remedy === "sign-in" ? (
                  <Button
                    onClick={() => {
                      signOut();
                      start();
                    }}
                  >
                    {t("receive.other-account")}
                  </Button>
                ) : undefined
              }
            />
          )}
          <ProofCard proof={linked.proof} />
          <div class="open-door">
            <Button look="primary" icon={<Person />} busy={stage.name === "opening"} onClick={start}>
              {who.length === 0 ? t("receive.open") : t("receive.open-as", { name: who[0]?.name ?? "" })}
            </Button>
            <p class="hint">{t("answer.open.hint")}</p>
          </div>
          <AbuseLink id={id} />
        </div>
      );
  }
}
