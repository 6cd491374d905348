/** The page: frame, the view of the place, the dialogs that can come up anywhere. */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { useCell } from "./cell.js";
import { language, t } from "./language.js";
import { Button, Notice, ProblemNotice } from "./parts/basics.js";
import { Footer, Header } from "./parts/frame.js";
import { Digest } from "./parts/proof.js";
import { Recoveries } from "./parts/recoveries.js";
import { SignInDialog } from "./parts/sign_in.js";
import { Standing } from "./parts/standing.js";
import { route, type Route } from "./routes.js";
import { connection } from "./service/connection.js";
import { acceptChange, change, dismissChange } from "./service/keeping.js";
import { trouble } from "./service/people.js";
import { AnswerView } from "./views/answer.js";
import { LostView } from "./views/lost.js";
import { ManageView } from "./views/manage.js";
import { PasskeyView } from "./views/passkey.js";
import { ReceiveView } from "./views/receive.js";
import { RequestView } from "./views/request.js";
import { SendView } from "./views/send.js";
import { VerifyView } from "./views/verify.js";

export function App(): JSX.Element {
  const here = useCell(route);
  const spoken = useCell(language);
  const main = useRef<HTMLElement>(null);
  const first = useRef(true);

  useEffect(() => {
    document.documentElement.lang = spoken;
    document.title = `${t(`title.${here.view}`)} · Strongroom`;
  }, [here, spoken]);

  useEffect(() => {
    // a screen reader learns of a new view by the focus; the first one it reads anyway
    if (first.current) first.current = false;
    else {
      main.current?.querySelector<HTMLElement>("h1")?.focus({ preventScroll: true });
      window.scrollTo(0, 0);
    }
  }, [here]);

  return (
    <>
      <a class="skip" href="#main" onClick={(event) => (event.preventDefault(), main.current?.focus())}>
        {t("skip")}
      </a>
      <Header />
      <ChangeBanner />
      <OfflineBanner />
      <SignInBanner />
      <Recoveries />
      <main id="main" tabIndex={-1} ref={main}>
        <Trouble view={here.view} />
        <View key={location.hash} here={here} />
      </main>
      <Footer />
      <SignInDialog />
    </>
  );
}

function View({ here }: { readonly here: Route }): JSX.Element {
  switch (here.view) {
    case "send":
      return <SendView />;
    case "receive":
      return <ReceiveView id={here.id} />;
    case "shares":
      return <ManageView id={null} />;
    case "share":
      return <ManageView id={here.id} />;
    case "request":
      return <RequestView />;
    case "answer":
      return <AnswerView id={here.id} />;
    case "passkey":
      return <PasskeyView />;
    case "verify":
      return <VerifyView />;
    case "lost":
      return <LostView />;
  }
}

/** Above the forms, which do not show the connection's state themselves. */
function Trouble({ view }: { readonly view: Route["view"] }): JSX.Element | null {
  const now = useCell(connection);
  const shows = view === "send" || view === "request" || view === "passkey";
  if (!shows || now.state === "verified" || now.state === "checking") return null;
  return (
    <div class="trouble">
      <Standing />
    </div>
  );
}

/** A sign-in that left the page and did not work. */
function SignInBanner(): JSX.Element | null {
  const problem = useCell(trouble);
  if (problem === null) return null;
  return (
    <div class="banner">
      <ProblemNotice problem={problem} />
    </div>
  );
}

function OfflineBanner(): JSX.Element | null {
  const [online, setOnline] = useState(navigator.onLine);
  useEffect(() => {
    const look = (): void => setOnline(navigator.onLine);
    window.addEventListener("online", look);
    window.addEventListener("offline", look);
    return () => {
      window.removeEventListener("online", look);
      window.removeEventListener("offline", look);
    };
  }, []);
  if (online) return null;
  return (
    <div class="banner">
      <Notice tone="offline" title={t("offline.title")}>
        <p>{t("offline.text")}</p>
      </Notice>
    </div>
  );
}

/** A kept page whose server offers other bytes than it was kept with. */
function ChangeBanner(): JSX.Element | null {
  const offered = useCell(change);
  if (offered === null) return null;
  return (
    <div class="banner">
      <Notice
        tone="caution"
        title={t("keep.changed.title")}
        actions={
          <>
            <Button look="primary" onClick={dismissChange}>
              {t("keep.changed.keep")}
            </Button>
            <Button onClick={() => void acceptChange()}>{t("keep.changed.accept")}</Button>
          </>
        }
      >
        <p>{t("keep.changed.text")}</p>
        <dl class="digests">
          <Digest label={t("changed.before")} hex={offered.kept} />
          <Digest label={t("changed.now")} hex={offered.offered} />
        </dl>
      </Notice>
    </div>
  );
}
