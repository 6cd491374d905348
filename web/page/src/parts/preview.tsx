/** Looking at a file without downloading it: decrypted here, drawn in a frame that can reach nothing.
 *
 * A document from outside may attack whatever draws it. The frame has an origin of its own (sandbox without
 * allow-same-origin), so it reads neither keys nor session, and its policy lets it fetch nothing but its own scripts.
 */

import type { JSX } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { language, t } from "../language.js";
import { Download } from "../icons.js";
import type { FromPreview, ToPreview } from "../preview/protocol.js";
import { kindOf, PREVIEW_BYTES } from "../preview/protocol.js";
import { installed } from "../service/keeping.js";
import { problemOf } from "../service/problem.js";
import type { Problem, SharedFile } from "../service/types.js";
import { Button, Dialog, ProblemNotice, Skeleton } from "./basics.js";

// a sandboxed frame is out of the service worker's reach: its scripts would come from the server that a kept page does not trust
export const previewable = (file: SharedFile): boolean => file.size <= PREVIEW_BYTES && kindOf(file.type, file.path) !== null && installed.value === null;

interface PreviewProps {
  readonly file: SharedFile;
  readonly read: () => Promise<Uint8Array<ArrayBuffer>>;
  readonly onClose: () => void;
  readonly onDownload: () => void;
}

export function Preview({ file, read, onClose, onDownload }: PreviewProps): JSX.Element {
  const frame = useRef<HTMLIFrameElement>(null);
  const [stage, setStage] = useState<"loading" | "shown" | "failed">("loading");
  const [problem, setProblem] = useState<Problem | null>(null);
  const [scale, setScale] = useState<"fit" | "larger">("fit");

  useEffect(() => {
    const kind = kindOf(file.type, file.path);
    let bytes: Promise<Uint8Array<ArrayBuffer>> | null = null;
    const hear = (event: MessageEvent<FromPreview>): void => {
      // the frame's origin is opaque ("null"), so who speaks is told by the window alone
      const window_ = frame.current?.contentWindow;
      if (!window_ || event.source !== window_ || kind === null) return;
      if (event.data.type === "ready" && bytes === null) {
        bytes = read();
        bytes.then(
          (plain) => {
            const message: ToPreview = { type: "show", kind, bytes: plain, name: file.path, language: language.value, page: t("preview.page") };
            window_.postMessage(message, "*", [plain.buffer]);
          },
          (error: unknown) => {
            setStage("failed");
            setProblem(problemOf(error));
          },
        );
      }
      if (event.data.type === "shown") setStage("shown");
      if (event.data.type === "failed") setStage("failed");
    };
    window.addEventListener("message", hear);
    return () => window.removeEventListener("message", hear);
  }, [file]);

  return (
    <Dialog title={file.path.split("/").at(-1) ?? file.path} onClose={onClose}>
      <div class={`preview preview-${stage} preview-${scale}`} tabIndex={scale === "larger" ? 0 : undefined}>
        {stage === "loading" && <Skeleton lines={8} />}
        {problem !== null ? <ProblemNotice problem={problem} /> : stage === "failed" && <p class="quiet-empty">{t("preview.failed")}</p>}
        <iframe ref={frame} class="preview-frame" title={t("preview.title", { name: file.path })} sandbox="allow-scripts" src="/preview/" />
      </div>
      <div class="actions end">
        {stage === "shown" && kindOf(file.type, file.path) !== "text" && (
          <Button look="quiet" onClick={() => setScale(scale === "fit" ? "larger" : "fit")}>
            {scale === "fit" ? t("preview.larger") : t("preview.fit")}
          </Button>
        )}
        <Button icon={<Download />} onClick={onDownload}>
          {t("receive.download")}
        </Button>
      </div>
    </Dialog>
  );
}
