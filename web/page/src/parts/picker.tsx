/** Picking files and folders: by dragging, by button, by keyboard. */

import type { JSX } from "preact";
import { useId, useRef, useState } from "preact/hooks";

import { files as countFiles, size } from "../amounts.js";
import { Cross, Folder, iconFor, Plus } from "../icons.js";
import { t } from "../language.js";
import { plainName } from "../service/checks.js";
import type { Picked } from "../service/types.js";
import { Button, IconButton } from "./basics.js";
import { Thumbnail } from "./thumbnails.js";

interface PickerProps {
  readonly picked: readonly Picked[];
  readonly onChange: (picked: readonly Picked[]) => void;
  readonly maxBytes: number | null;
  readonly error: string | null;
}

export const totalOf = (picked: readonly Picked[]): number => picked.reduce((sum, { file }) => sum + file.size, 0);

export function Picker({ picked, onChange, maxBytes, error }: PickerProps): JSX.Element {
  const [over, setOver] = useState(false);
  const filesInput = useRef<HTMLInputElement>(null);
  const folderInput = useRef<HTMLInputElement>(null);
  const id = useId();

  const add = (more: readonly Picked[]): void => {
    // the same path again replaces the earlier file: names are compared as file systems of receivers do
    const seen = new Map(picked.map((each) => [keyOf(each), each]));
    for (const each of more) seen.set(keyOf(each), each);
    onChange([...seen.values()]);
  };
  const takeInput = (input: HTMLInputElement): void => {
    add([...(input.files ?? [])].map((file) => ({ path: (file.webkitRelativePath || file.name).normalize("NFC"), file })));
    input.value = "";
  };

  const total = totalOf(picked);
  const tooMuch = maxBytes !== null && total > maxBytes;
  return (
    <div class="picker">
      <div
        class={`drop ${over ? "drop-over" : ""} ${picked.length > 0 ? "drop-filled" : ""}`}
        role="group"
        aria-labelledby={`${id}-title`}
        onDragOver={(event) => {
          event.preventDefault();
          setOver(true);
        }}
        onDragLeave={() => setOver(false)}
        onDrop={(event) => {
          event.preventDefault();
          setOver(false);
          if (event.dataTransfer !== null) void dropped(event.dataTransfer).then(add);
        }}
      >
        {picked.length === 0 && (
          <>
            <DropPicture />
            <p class="drop-title" id={`${id}-title`}>
              {t("picker.title")}
            </p>
            <p class="hint">{maxBytes === null ? t("picker.hint") : t("picker.hint.max", { size: size(maxBytes) })}</p>
          </>
        )}
        {picked.length > 0 && (
          <p class="drop-sum" id={`${id}-title`} aria-live="polite">
            <strong>{countFiles(picked.length)}</strong>
            <span>{size(total)}</span>
          </p>
        )}
        <div class="drop-actions">
          <Button icon={<Plus />} onClick={() => filesInput.current?.click()}>
            {picked.length === 0 ? t("picker.files") : t("picker.more")}
          </Button>
          <Button look="quiet" icon={<Folder />} onClick={() => folderInput.current?.click()}>
            {t("picker.folder")}
          </Button>
        </div>
        <input ref={filesInput} hidden aria-hidden="true" tabIndex={-1} type="file" multiple onChange={(event) => takeInput(event.currentTarget)} />
        <input
          ref={(input) => {
            folderInput.current = input;
            if (input !== null) input.webkitdirectory = true;
          }}
          hidden
          aria-hidden="true"
          tabIndex={-1}
          type="file"
          onChange={(event) => takeInput(event.currentTarget)}
        />
      </div>
      {picked.length > 0 && (
        <ul class="file-list">
          {picked.map((each) => (
            <FileLine key={each.path} path={each.path} type={each.file.type} bytes={each.file.size}>
              <IconButton label={t("picker.remove", { name: plainName(each.path) })} icon={<Cross />} onClick={() => onChange(picked.filter((other) => other !== each))} />
            </FileLine>
          ))}
        </ul>
      )}
      {(tooMuch || error !== null) && (
        <p class="error-text" role="alert">
          {tooMuch && maxBytes !== null ? t("picker.too-much", { size: size(total), max: size(maxBytes) }) : error}
        </p>
      )}
    </div>
  );
}

const keyOf = (picked: Picked): string => picked.path.normalize("NFC").toLowerCase().normalize("NFC");

interface FileLineProps {
  readonly path: string;
  readonly type: string;
  readonly bytes: number;
  readonly picture?: ImageData | undefined;
  readonly children: JSX.Element | JSX.Element[];
}

/** One file: icon, name with its folder in a softer voice, size, and what can be done with it. */
export function FileLine({ path: written, type, bytes, picture, children }: FileLineProps): JSX.Element {
  const path = plainName(written);
  const cut = path.lastIndexOf("/") + 1;
  const Icon = iconFor(type);
  return (
    <li class="file-line">
      <span class="file-icon">{picture === undefined ? <Icon /> : <Thumbnail picture={picture} />}</span>
      <span class="file-name" title={path}>
        {cut > 0 && <span class="file-folder">{path.slice(0, cut)}</span>}
        <span class="file-base">{path.slice(cut)}</span>
      </span>
      <span class="file-size">{size(bytes)}</span>
      <span class="file-actions">{children}</span>
    </li>
  );
}

function DropPicture(): JSX.Element {
  return (
    <svg class="drop-picture" viewBox="0 0 96 72" aria-hidden="true" focusable="false">
      <path class="drop-sheet" d="M18 12.5a4 4 0 0 1 4-4h22l10 10v39a4 4 0 0 1-4 4H22a4 4 0 0 1-4-4z" transform="rotate(-8 36 35)" />
      <path class="drop-sheet" d="M40 10.5a4 4 0 0 1 4-4h20l11 11v40a4 4 0 0 1-4 4H44a4 4 0 0 1-4-4z" transform="rotate(5 57 34)" />
      <path class="drop-line" d="M49 26h12M48 34h18M47.3 42h12" transform="rotate(5 57 34)" />
      <circle class="drop-seal" cx="73" cy="54" r="12" />
      <path class="drop-tick" d="m67.5 54.3 3.8 3.8 7-8" />
    </svg>
  );
}

/** Everything in what was dropped, folders with what is in them. */
async function dropped(transfer: DataTransfer): Promise<Picked[]> {
  // entries must be taken before the first await: the browser empties the list after the event
  const entries = [...transfer.items].filter((item) => item.kind === "file").map((item) => item.webkitGetAsEntry());
  const found: Picked[] = [];
  for (const entry of entries) if (entry !== null) await walk(entry, "", found);
  return found;
}

async function walk(entry: FileSystemEntry, folder: string, found: Picked[]): Promise<void> {
  const path = `${folder}${entry.name}`.normalize("NFC");
  if (entry.isFile) {
    const file = await new Promise<File>((resolve, reject) => (entry as FileSystemFileEntry).file(resolve, reject));
    found.push({ path, file });
    return;
  }
  const reader = (entry as FileSystemDirectoryEntry).createReader();
  for (;;) {
    // readEntries gives at most a hundred at a time
    const batch = await new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
    if (batch.length === 0) return;
    for (const child of batch) await walk(child, `${path}/`, found);
  }
}
