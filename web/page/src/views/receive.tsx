/** Receiving: what was verified, who asks for a sign-in and why, then the files. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { day, files as countFiles, nowSeconds, size, until } from "../amounts.js";
import { useCell } from "../cell.js";
import { Clock, Cross, Download, Eye, Flag, Person, Shield } from "../icons.js";
import { counted, t } from "../language.js";
import { Button, Dialog, Field, Heading, IconButton, Notice, ProblemNotice } from "../parts/basics.js";
import { Name } from "../parts/names.js";
import { FileLine } from "../parts/picker.js";
import { Preview, previewable } from "../parts/preview.js";
import { PaceLine, ProgressBar } from "../parts/progress.js";
import { ProofCard } from "../parts/proof.js";
import { pictured, Thumbnails } from "../parts/thumbnails.js";
import { Standing } from "../parts/standing.js";
import { connection } from "../service/connection.js";
import { people, signOut } from "../service/people.js";
import { problemOf } from "../service/problem.js";
import { joinSecond, open, reportAbuse } from "../service/sharing.js";
import type { Opened, Problem, Proof, SharedFile } from "../service/types.js";

type Stage =
  | { readonly name: "closed" }
  | { readonly name: "opening" }
  | { readonly name: "open"; readonly share: Opened }
  | { readonly name: "failed"; readonly problem: Problem };

export function ReceiveView({ id }: { readonly id: string }): JSX.Element {
  const linked = useCell(connection);
  const who = useCell(people);
  const [stage, setStage] = useState<Stage>({ name: "closed" });

  const start = (): void => {
    setStage({ name: "opening" });
    open(id).then(
      (share) => setStage({ name: "open", share }),
      (error: unknown) => setStage({ name: "failed", problem: problemOf(error) }),
    );
  };

  if (linked.state !== "verified")
    return (
      <div class="view view-narrow">
        <Standing heading={<Heading lead={t("receive.lead")}>{t("receive.title")}</Heading>} />
      </div>
    );

  if (stage.name === "open") return <OpenView id={id} share={stage.share} proof={linked.proof} />;

  return (
    <div class="view view-narrow">
      <Heading lead={t("receive.lead")}>{t("receive.title")}</Heading>
      {stage.name === "failed" && (
        <ProblemNotice
          problem={stage.problem}
          actions={
            <>
              {stage.problem.remedy === "sign-in" && who.length > 0 && <p class="hint">{t("receive.signed-in-as", { name: who.map((each) => each.name).join(", ") })}</p>}
              {stage.problem.remedy === "sign-in" && (
                <Button
                  onClick={() => {
                    signOut();
                    start();
                  }}
                >
                  {t("receive.other-account")}
                </Button>
              )}
              {stage.problem.remedy === "sign-in" && who.length > 0 && (
                <Button
                  look="quiet"
                  onClick={() => {
                    joinSecond(id).then(start, (error: unknown) => setStage({ name: "failed", problem: problemOf(error) }));
                  }}
                >
                  {t("receive.second")}
                </Button>
              )}
              {stage.problem.remedy === "retry" && <Button onClick={start}>{t("retry")}</Button>}
            </>
          }
        />
      )}
      <ProofCard proof={linked.proof} />
      {(stage.name === "closed" || stage.name === "opening") && (
        <div class="open-door">
          <Button look="primary" icon={<Person />} busy={stage.name === "opening"} onClick={start}>
            {who.length === 0 ? t("receive.open") : t("receive.open-as", { name: who[0]?.name ?? "" })}
          </Button>
          <p class="hint">{t("receive.open.hint")}</p>
        </div>
      )}
      <AbuseLink id={id} />
    </div>
  );
}

interface Fetching {
  readonly of: SharedFile | "all";
  readonly done: number;
  readonly total: number;
  readonly state: "running" | "done";
  readonly stop: AbortController;
}

function OpenView({ id, share, proof }: { readonly id: string; readonly share: Opened; readonly proof: Proof }): JSX.Element {
  const [download, setDownload] = useState<Fetching | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const [shown, setShown] = useState<SharedFile | null>(null);
  const [pictures, setPictures] = useState<ReadonlyMap<SharedFile, ImageData>>(new Map());
  const top = useRef<HTMLDivElement>(null);
  useEffect(() => top.current?.querySelector<HTMLElement>("h1")?.focus(), []);

  const total = share.files.reduce((sum, file) => sum + file.size, 0);
  const left = share.maxOpens === null ? null : Math.max(0, share.maxOpens - share.opens);

  const fetchTo = (of: SharedFile | "all"): void => {
    const stop = new AbortController();
    const all = of === "all" ? total : of.size;
    setProblem(null);
    setDownload({ of, done: 0, total: all, state: "running", stop });
    const progress = (done: number, whole: number): void => setDownload((now) => (now?.stop === stop ? { ...now, done, total: whole } : now));
    const run = of === "all" ? share.saveAll(progress, stop.signal) : share.save(of, progress, stop.signal);
    run.then(
      () => setDownload((now) => (now?.stop === stop ? { ...now, done: now.total, state: "done" } : now)),
      (error: unknown) => {
        setDownload(null);
        if (!(error instanceof DOMException && error.name === "AbortError")) setProblem(problemOf(error));
      },
    );
  };

  return (
    <div class="view view-medium" ref={top}>
      <article class="sheet parcel" aria-label={share.title}>
        <header class="parcel-head">
          <p class="from">
            <span class="from-icon">
              <Shield />
            </span>
            <span>
              {t("receive.from")} <strong>
                <Name of={share.from} />
              </strong>
              <span class="hint">{t("receive.from.hint")}</span>
            </span>
          </p>
          <h1 tabIndex={-1}>{share.title}</h1>
          {share.message !== "" && <p class="message">{share.message}</p>}
          <ul class="marks">
            {share.expiresAt !== null && (
              <li>
                <Clock />
                {t("receive.until", { day: day(share.expiresAt), left: until(share.expiresAt, nowSeconds()) })}
              </li>
            )}
            {left !== null && (
              <li>
                <Eye />
                {left === 0 ? t("receive.opens-none") : counted("receive.opens-left", left)}
              </li>
            )}
          </ul>
        </header>
        {problem !== null && <ProblemNotice problem={problem} />}
        <div class="parcel-files">
          <div class="parcel-sum">
            <h2>{countFiles(share.files.length)}</h2>
            <span>{size(total)}</span>
            <Button look="primary" icon={<Download />} disabled={download?.state === "running"} onClick={() => fetchTo(share.files.length === 1 && share.files[0] !== undefined ? share.files[0] : "all")}>
              {share.files.length === 1 ? t("receive.download") : t("receive.download-all")}
            </Button>
          </div>
          {download !== null && <DownloadLine download={download} />}
          <ul class="file-list">
            {share.files.map((file) => (
              <FileLine key={file.path} path={file.path} type={file.type} bytes={file.size} picture={pictures.get(file)}>
                <>
                  {previewable(file) && <IconButton label={t("receive.preview", { name: file.path })} icon={<Eye />} onClick={() => setShown(file)} />}
                  <IconButton label={t("receive.download-one", { name: file.path })} icon={<Download />} onClick={() => fetchTo(file)} />
                </>
              </FileLine>
            ))}
          </ul>
        </div>
      </article>
      <ProofCard proof={proof} />
      <AbuseLink id={id} />
      <Thumbnails files={pictured(share.files)} read={(file) => share.read(file)} onDrawn={(file, picture) => setPictures((now) => new Map(now).set(file, picture))} />
      {shown !== null && <Preview file={shown} read={() => share.read(shown)} onClose={() => setShown(null)} onDownload={() => fetchTo(shown)} />}
    </div>
  );
}

function DownloadLine({ download }: { readonly download: Fetching }): JSX.Element {
  const name = download.of === "all" ? t("receive.all-files") : download.of.path;
  if (download.state === "done")
    return (
      <Notice tone="success" title={t("receive.done.title", { name })}>
        <p>{t("receive.done.text")}</p>
      </Notice>
    );
  return (
    <div class="download-line">
      <div class="download-head">
        <span>{t("receive.decrypting", { name })}</span>
        <IconButton label={t("cancel")} icon={<Cross />} onClick={() => download.stop.abort()} />
      </div>
      <ProgressBar done={download.done} total={download.total} label={t("receive.decrypting", { name })} />
      <PaceLine done={download.done} total={download.total} />
    </div>
  );
}

export function AbuseLink({ id }: { readonly id: string }): JSX.Element {
  const [stage, setStage] = useState<"closed" | "asking" | "sending" | "sent" | "failed">("closed");
  const [text, setText] = useState("");
  const submit = (): void => {
    setStage("sending");
    reportAbuse(id, text).then(
      () => setStage("sent"),
      () => setStage("failed"),
    );
  };
  return (
    <div class="abuse">
      <button type="button" class="link-button soft" onClick={() => setStage("asking")}>
        <Flag />
        {t("abuse.link")}
      </button>
      {stage !== "closed" && (
        <Dialog title={t("abuse.title")} onClose={() => setStage("closed")}>
          {stage === "sent" ? (
            <Notice tone="success" title={t("abuse.sent.title")}>
              <p>{t("abuse.sent.text")}</p>
            </Notice>
          ) : (
            <>
              <p>{t("abuse.text")}</p>
              {stage === "failed" && (
                <Notice tone="caution" title={t("abuse.failed.title")}>
                  <p>{t("abuse.failed.text")}</p>
                </Notice>
              )}
              <Field label={t("abuse.field")} value={text} onInput={setText} rows={4} maxLength={2000} />
              <div class="actions end">
                <Button look="quiet" onClick={() => setStage("closed")}>
                  {t("cancel")}
                </Button>
                <Button look="primary" busy={stage === "sending"} disabled={text.trim() === ""} onClick={submit}>
                  {t("abuse.send")}
                </Button>
              </div>
            </>
          )}
        </Dialog>
      )}
    </div>
  );
}
