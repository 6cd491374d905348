/** Says that custodians recovered what the reader uses, in every view: it is rare, and somebody may have tricked them. */

import type { Notice as Told } from "@strongroom/sdk";
import type { JSX } from "preact";

import { moment } from "../amounts.js";
import { useCell } from "../cell.js";
import { counted, t } from "../language.js";
import { dismiss, notices } from "../service/recoveries.js";
import { Button, Notice } from "./basics.js";

export function Recoveries(): JSX.Element | null {
  const told = useCell(notices);
  if (told.length === 0) return null;
  return (
    <div class="banner">
      {told.map((one) => (
        <Notice key={one} tone="caution" title={titleOf(one)} actions={<Button onClick={() => dismiss(one)}>{t("recovered.read")}</Button>}>
          <p>{textOf(one)}</p>
        </Notice>
      ))}
    </div>
  );
}

const titleOf = (told: Told): string => (told.about === "lost" ? t("recovered.lost.title") : t(`recovered.${told.role}.title`));

function textOf(told: Told): string {
  if (told.about === "lost") return counted("recovered.lost.text", told.lines, { date: moment(told.at) });
  const number = { number: told.recoveries };
  return told.gaveUpAt === null ? t("recovered.whole", number) : t("recovered.gave-up", { ...number, date: moment(told.gaveUpAt) });
}
